//! What a check finds.

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    /// What is wrong, without where: `FOLDER: FILE` or `FOLDER: FROM -> TO`.
    pub(super) key: String,
    /// What a person reads.
    pub(super) advice: String,
}
