"""What an explanation says in plain words, in English and in Chinese."""

from collections.abc import Mapping
from typing import Any

from services.scoring.rules.names import SEGMENTS, STAGES, Names

Words = dict[str, list[str]]

MEASURES = {
    "recency": ("days since the last purchase", "距上次购买天数"),
    "frequency": ("purchases", "购买次数"),
    "monetary": ("net revenue", "净消费额"),
}


def uncalibrated() -> Words:
    return {
        "en": ["Nothing has been calibrated yet: there is no score."],
        "zh": ["尚未进行过校准：没有评分。"],
    }


def explained(explanation: Mapping[str, Any]) -> Words:
    """One sentence each for the score, the segment, the tier and the stage, as far as there are such."""
    words: Words = {"en": [], "zh": []}

    def say(english: str, chinese: str) -> None:
        words["en"].append(english)
        words["zh"].append(chinese)

    score, segment, tier, stage = (explanation[part] for part in ("score", "segment", "tier", "stage"))
    if score is None:
        say("No purchase counts: there is no score.", "没有有效购买：没有评分。")
    elif score["value"] is not None:
        parts = [(MEASURES[each["measure"]], each["points"]) for each in score["inputs"]]
        say(
            f"The value score is {score['value']:g} of 100: "
            + ", ".join(f"{points:g} for {name[0]}" for name, points in parts)
            + ".",
            f"价值评分 {score['value']:g}（满分 100）："
            + "，".join(f"{name[1]} {points:g} 分" for name, points in parts)
            + "。",
        )
    if segment is not None:
        english, chinese = _names(SEGMENTS, segment["code"])
        say(
            f"Recency band {segment['r']} and a mean of {segment['fm']} of frequency and monetary make the segment"
            f" “{english}”.",
            f"近度 {segment['r']} 档、频度与金额均值 {segment['fm']} 档，属于“{chinese}”。",
        )
    if tier is not None:
        _say_tier(tier, explanation["currency"], say)
    if stage is not None and stage["silence_days"] is not None:
        english, chinese = _names(STAGES, stage["stage"])
        say(
            f"Stage “{english}”: {stage['silence_days']} days without a purchase; late after {stage['late_after_days']},"
            f" dormant after {stage['dormant_after_days']}, lost after {stage['lost_after_days']}.",
            f"阶段“{chinese}”：已 {stage['silence_days']} 天未购买；超过 {stage['late_after_days']} 天为迟到，"
            f"{stage['dormant_after_days']} 天为沉睡，{stage['lost_after_days']} 天为流失。",
        )
    return words


def _names(table: Mapping[str, Names], code: str) -> tuple[str, str]:
    """A code that a company made itself stands for itself."""
    names = table.get(code, {})
    return names.get("en", code), names.get("zh", code)


def _say_tier(tier: Mapping[str, Any], currency: str | None, say: Any) -> None:
    if tier["downgrade_due_at"] is not None:
        day = tier["downgrade_due_at"].date().isoformat()
        say(
            f"The tier {tier['code']} is held until a review on or after {day}; {tier['deserved']} is deserved now.",
            f"等级 {tier['code']} 保留至 {day} 起的首次复核；目前应得等级为 {tier['deserved']}。",
        )
    following = tier["next"]
    if following is None:
        return
    name = following["names"].get("zh", following["code"])
    if following["missing_points"] is not None:
        say(
            f"{following['missing_points']:g} points of the score are missing to {following['code']}.",
            f"距离{name}等级还差 {following['missing_points']:g} 分。",
        )
    if following["missing_minor"] is not None:
        say(
            f"Net revenue of {following['missing_minor']} more (minor units, {currency}) would reach {following['code']}.",
            f"再增加净消费 {following['missing_minor']}（最小货币单位，{currency}）可达到{name}。",
        )


def compared(comparison: Mapping[str, Any]) -> Words:
    """One sentence for the score, and one for each measure that moved it."""
    then, now = comparison["before"]["score"], comparison["after"]["score"]
    if then is None and now is None:
        return {"en": ["There was and is no score."], "zh": ["前后均没有评分。"]}
    words: Words = {
        "en": [f"The value score went from {_number(then)} to {_number(now)}, by the boundaries in force."],
        "zh": [f"按当前边界，价值评分从 {_number(then)} 变为 {_number(now)}。"],
    }
    for each in comparison["changes"]:
        if each["points"]:
            english, chinese = MEASURES[each["measure"]]
            before, after = _number(each["before"]), _number(each["after"])
            words["en"].append(f"{each['points']:+g} points: {english} {before} → {after}.")
            words["zh"].append(f"{each['points']:+g} 分：{chinese} {before} → {after}。")
    return words


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
