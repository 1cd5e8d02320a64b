from benchmarks.gate import RULES, accepted


def test_the_chance_of_an_accepted_form_is_that_of_its_lost_images() -> None:
    # with no image won, the gate accepts 300 images of which one is lost at most: the chance is binomial
    chance = 0.98**300 + 300 * 0.02 * 0.98**299

    assert abs(accepted(RULES["the gate"], 300, loss=0.02, won=0.0) - chance) < 1e-9


def test_the_gate_seldom_accepts_what_loses_too_much_however_few_the_images() -> None:
    gate = RULES["the gate"]

    for images in (20, 60, 112, 193, 250, 400, 700):
        for won in (0.0, 0.005, 0.02):
            assert accepted(gate, images, loss=0.02, won=won) <= 0.025
            assert accepted(gate, images, loss=0.045, won=won) <= 0.01
