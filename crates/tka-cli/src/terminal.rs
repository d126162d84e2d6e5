//! The terminal: colours, widths, tables and messages.

pub(crate) mod approvers;
#[cfg(unix)]
pub(crate) mod cbreak;
pub(crate) mod messages;
pub(crate) mod output;
pub(crate) mod sections;
pub(crate) mod table;
pub(crate) mod theme;
pub(crate) mod time_format;
pub(crate) mod ui;
pub(crate) mod wrap;
