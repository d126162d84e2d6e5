//! What a check finds.

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    /// What a line of the list of those that are known says.
    pub(super) key: String,
    /// What a person reads.
    pub(super) advice: String,
}
