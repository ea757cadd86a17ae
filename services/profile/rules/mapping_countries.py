"""Names of countries as they stand in exports → ISO 3166-1 alpha-2 codes."""

# The short names of ISO 3166-1 in everyday English; further names of the same country after it.
_NAMES = """
AD Andorra|AE United Arab Emirates,UAE|AF Afghanistan|AG Antigua and Barbuda|AI Anguilla|AL Albania|AM Armenia|AO Angola|AQ Antarctica
AR Argentina|AS American Samoa|AT Austria,Österreich|AU Australia|AW Aruba|AX Åland Islands,Aland Islands|AZ Azerbaijan
BA Bosnia and Herzegovina,Bosnia|BB Barbados|BD Bangladesh|BE Belgium|BF Burkina Faso|BG Bulgaria|BH Bahrain|BI Burundi|BJ Benin
BL Saint Barthélemy|BM Bermuda|BN Brunei,Brunei Darussalam|BO Bolivia|BQ Bonaire|BR Brazil|BS Bahamas,The Bahamas|BT Bhutan
BV Bouvet Island|BW Botswana|BY Belarus|BZ Belize|CA Canada|CC Cocos Islands|CD Democratic Republic of the Congo,DR Congo
CF Central African Republic|CG Congo,Republic of the Congo|CH Switzerland,Schweiz|CI Côte d'Ivoire,Ivory Coast|CK Cook Islands|CL Chile
CM Cameroon|CN China,中国,P.R. China,People's Republic of China|CO Colombia|CR Costa Rica|CU Cuba|CV Cabo Verde,Cape Verde|CW Curaçao
CX Christmas Island|CY Cyprus|CZ Czechia,Czech Republic|DE Germany,Deutschland,德国|DJ Djibouti|DK Denmark|DM Dominica
DO Dominican Republic|DZ Algeria|EC Ecuador|EE Estonia|EG Egypt|EH Western Sahara|ER Eritrea|ES Spain,España|ET Ethiopia|FI Finland
FJ Fiji|FK Falkland Islands|FM Micronesia|FO Faroe Islands|FR France,法国|GA Gabon
GB United Kingdom,UK,Great Britain,England,Scotland,Wales,Northern Ireland,U.K.,英国|GD Grenada|GE Georgia|GF French Guiana|GG Guernsey
GH Ghana|GI Gibraltar|GL Greenland|GM Gambia|GN Guinea|GP Guadeloupe|GQ Equatorial Guinea|GR Greece|GS South Georgia
GT Guatemala|GU Guam|GW Guinea-Bissau|GY Guyana|HK Hong Kong,香港,Hong Kong SAR|HM Heard Island|HN Honduras|HR Croatia|HT Haiti|HU Hungary
ID Indonesia|IE Ireland,EIRE,Republic of Ireland|IL Israel|IM Isle of Man|IN India|IO British Indian Ocean Territory|IQ Iraq|IR Iran
IS Iceland|IT Italy,Italia|JE Jersey|JM Jamaica|JO Jordan|JP Japan,日本|KE Kenya|KG Kyrgyzstan|KH Cambodia|KI Kiribati|KM Comoros
KN Saint Kitts and Nevis|KP North Korea|KR South Korea,Korea,Republic of Korea,韩国|KW Kuwait|KY Cayman Islands|KZ Kazakhstan|LA Laos
LB Lebanon|LC Saint Lucia|LI Liechtenstein|LK Sri Lanka|LR Liberia|LS Lesotho|LT Lithuania|LU Luxembourg|LV Latvia|LY Libya
MA Morocco|MC Monaco|MD Moldova|ME Montenegro|MF Saint Martin|MG Madagascar|MH Marshall Islands|MK North Macedonia,Macedonia
ML Mali|MM Myanmar,Burma|MN Mongolia|MO Macao,Macau,澳门|MP Northern Mariana Islands|MQ Martinique|MR Mauritania|MS Montserrat|MT Malta
MU Mauritius|MV Maldives|MW Malawi|MX Mexico,México|MY Malaysia|MZ Mozambique|NA Namibia|NC New Caledonia|NE Niger|NF Norfolk Island
NG Nigeria|NI Nicaragua|NL Netherlands,The Netherlands,Holland|NO Norway|NP Nepal|NR Nauru|NU Niue|NZ New Zealand|OM Oman|PA Panama
PE Peru|PF French Polynesia|PG Papua New Guinea|PH Philippines|PK Pakistan|PL Poland,Polska|PM Saint Pierre and Miquelon|PN Pitcairn
PR Puerto Rico|PS Palestine|PT Portugal|PW Palau|PY Paraguay|QA Qatar|RE Réunion,Reunion|RO Romania|RS Serbia
RU Russia,Russian Federation|RW Rwanda|SA Saudi Arabia|SB Solomon Islands|SC Seychelles|SD Sudan|SE Sweden,Sverige|SG Singapore,新加坡
SH Saint Helena|SI Slovenia|SJ Svalbard and Jan Mayen|SK Slovakia|SL Sierra Leone|SM San Marino|SN Senegal|SO Somalia|SR Suriname
SS South Sudan|ST São Tomé and Príncipe|SV El Salvador|SX Sint Maarten|SY Syria|SZ Eswatini,Swaziland|TC Turks and Caicos Islands
TD Chad|TF French Southern Territories|TG Togo|TH Thailand|TJ Tajikistan|TK Tokelau|TL Timor-Leste|TM Turkmenistan|TN Tunisia|TO Tonga
TR Turkey,Türkiye|TT Trinidad and Tobago|TV Tuvalu|TW Taiwan,台湾|TZ Tanzania|UA Ukraine|UG Uganda|UM US Minor Outlying Islands
US United States,USA,U.S.A.,United States of America,美国|UY Uruguay|UZ Uzbekistan|VA Vatican City,Holy See
VC Saint Vincent and the Grenadines|VE Venezuela|VG British Virgin Islands|VI US Virgin Islands|VN Vietnam,Viet Nam|VU Vanuatu
WF Wallis and Futuna|WS Samoa|XK Kosovo|YE Yemen|YT Mayotte|ZA South Africa,RSA,Republic of South Africa|ZM Zambia|ZW Zimbabwe
"""

_CODE_BY_NAME: dict[str, str] = {}
_CODES: set[str] = set()
for _entry in _NAMES.replace("\n", "|").split("|"):
    if _entry:
        _code, _, _names = _entry.partition(" ")
        _CODES.add(_code)
        _CODE_BY_NAME.update(dict.fromkeys(_names.casefold().split(","), _code))


def is_code(text: str) -> bool:
    """Whether ``text`` is an ISO 3166-1 alpha-2 code in capitals (XK for Kosovo included, as everybody uses it)."""
    return text in _CODES


def code_of(name: str) -> str | None:
    """The code of a country by one of its names or by the code itself; None for what is no single country, such as
    «European Community», «Channel Islands» or «Unspecified»."""
    return _CODE_BY_NAME.get(name.casefold()) or (name.upper() if name.upper() in _CODES else None)
