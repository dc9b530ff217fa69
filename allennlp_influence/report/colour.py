"""
Signed scores as colours: blue supports, orange opposes, and what is near zero stays as it is. The two are
told apart with every common kind of colour blindness.
"""

# Four steps from pale to full.
BLUES = ("#c6dbef", "#9ecae1", "#6baed6", "#3182bd")
ORANGES = ("#fdd0a2", "#fdae6b", "#fd8d3c", "#e6550d")


def share_of(score: float, scale: float) -> float:
    """`score` on a scale of ±`scale`, from -1 to 1; 0 on an empty scale."""
    return max(-1.0, min(1.0, score / scale)) if scale > 0 else 0.0


def style_of(score: float, scale: float) -> str:
    """The terminal's style of a word: one of four steps, none below half of the first."""
    share = share_of(score, scale)
    step = round(abs(share) * len(BLUES))
    if step == 0:
        return ""
    return f"black on {(BLUES if share > 0 else ORANGES)[step - 1]}"
