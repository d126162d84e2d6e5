//! The terminal: colours, widths, tables and messages.

pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod theme;
pub(crate) mod ui;
pub(crate) mod view;
pub(crate) mod when;
pub(crate) mod wrap;
