//! Writing to disk: folders are created, files of `tka` are replaced, and files of users are changed in place.

mod advice;
mod atomic;
mod attributes;
mod folder;
mod locked;
mod owner;
pub(crate) mod regular;
#[cfg(test)]
#[cfg(unix)]
mod tests;

pub(crate) use advice::advice;
pub(crate) use atomic::{RESERVE, TempFile, check_replaceable, probe, replace, replace_unsynced};
pub(crate) use folder::{PRIVATE, is_ours, leads_out, make as make_folder};
pub(crate) use locked::{FileError, LockedFile, check_folder, with_appended};
pub(crate) use owner::inherits_owner;
