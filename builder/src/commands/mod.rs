//! One file per verb: wiring, no logic.
