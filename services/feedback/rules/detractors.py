"""What a bad answer becomes."""

SUBJECTS = {"en": "Survey answer: {score} of 10", "zh": "问卷评分：{score}（满分 10）"}


def severity(score: int) -> str:
    """``high`` for the lowest three scores: somebody who answers so is about to leave, or to tell others."""
    return "high" if score <= 2 else "normal"


def subject(score: int, language: str) -> str:
    return SUBJECTS[language].format(score=score)
