"""What segments and lifecycle stages are called, in English and in Chinese. (Tiers are named in the policy.)"""

from collections.abc import Mapping

Names = Mapping[str, str]

SEGMENTS: Mapping[str, Names] = {
    "champions": {"en": "Champions", "zh": "冠军客户"},
    "loyal": {"en": "Loyal", "zh": "忠诚客户"},
    "potential_loyalist": {"en": "Potential loyalists", "zh": "潜在忠诚客户"},
    "new": {"en": "New", "zh": "新客户"},
    "promising": {"en": "Promising", "zh": "有潜力客户"},
    "needing_attention": {"en": "Needing attention", "zh": "需关注客户"},
    "about_to_sleep": {"en": "About to sleep", "zh": "即将沉睡客户"},
    "at_risk": {"en": "At risk", "zh": "流失风险客户"},
    "cannot_lose": {"en": "Cannot lose", "zh": "不可失去客户"},
    "hibernating": {"en": "Hibernating", "zh": "沉睡客户"},
    "lost": {"en": "Lost", "zh": "已流失客户"},
}

STAGES: Mapping[str, Names] = {
    "prospect": {"en": "Prospect", "zh": "潜在客户"},
    "acquired": {"en": "First purchase", "zh": "首购"},
    "growing": {"en": "Growing", "zh": "成长"},
    "mature": {"en": "Mature", "zh": "成熟"},
    "declining": {"en": "Declining", "zh": "衰退"},
    "dormant": {"en": "Dormant", "zh": "沉睡"},
    "lost": {"en": "Lost", "zh": "流失"},
    "won_back": {"en": "Won back", "zh": "赢回"},
}
