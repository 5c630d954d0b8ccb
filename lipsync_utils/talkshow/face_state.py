"""What a face does in one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .actor import Actor

JAW_DROP = 0.33  # how far a fully open jaw moves the chin, head units


@dataclass(frozen=True)
class FaceState:
    """Pose and expression. Angles in radians: |yaw| <= 0.6, -0.2 <= pitch <= 0.35 (down), |roll| <= 0.26 look right.


    jaw, rounding, teeth, tongue, press, blink: 0..1; width: -1 (narrow) .. 1 (wide); brow: -1..1; gaze: -1..1.
    """

    jaw: float = 0.0
    width: float = 0.0
    rounding: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    press: float = 0.0
    blink: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    brow: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def upper_lift(self) -> float:
        """How far the upper lip rises in the middle, head units."""
        return 0.055 * self.jaw * (1 - 0.3 * self.rounding) + 0.030 * self.teeth + 0.01 * self.rounding

    @property
    def chin_drop(self) -> float:
        """How far the chin moves down, head units."""
        return JAW_DROP * self.jaw

    @property
    def lower_drop(self) -> float:
        """How far the lower lip moves down in the middle, head units."""
        return 0.92 * self.chin_drop + 0.022 * self.teeth * (1 - self.press)


def with_habit(actor: Actor, state: FaceState) -> FaceState:
    """Return what an actor with a habit of the mouth makes of a state; `habit_side` acts on the lips' shape itself."""
    if not (actor.habit_round or actor.habit_teeth):
        return state
    speaking = min(1.0, 2.5 * state.jaw)
    rounding = state.rounding + actor.habit_round * (0.5 * state.rounding + 0.45 * speaking)
    teeth = state.teeth + actor.habit_teeth * (0.3 * state.teeth + 0.6 * speaking)
    return replace(state, rounding=min(1.0, rounding), teeth=min(1.0, teeth))


def mouth_opening(actor: Actor, state: FaceState) -> float:
    """Return the gap between the lips in the middle, as a fraction of the distance between the pupils."""
    state = with_habit(actor, state)
    return (state.upper_lift + state.lower_drop) / actor.interocular
