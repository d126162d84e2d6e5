//! Which kubeconfig kubectl in the calling shell uses: a line to evaluate, or what the shell function evaluates.

use std::io::{self, IsTerminal};
use std::path::Path;

use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::env_variable::{self, ShellSyntax, UnexportablePath};
use crate::kubeconfig::merge::MergeTarget;
use crate::kubeconfig::shell_integration;
use crate::kubeconfig::store::KubeconfigStore;
use crate::sys::environment::variable;
use crate::terminal::{messages, ui};

/// Prints the kubeconfig: a line for a shell to evaluate, or with `--no-eval` the path. It prints nothing if kubectl already reads the
/// user's kubeconfig that the context was `merged` into.
///
/// `--quiet` wins. The original's shell functions add it to every command, `-e` included, and evaluate the output.
pub(crate) fn export(ctx: &CommandContext, merged: Option<&MergeTarget>) -> Result<(), Error> {
    match variable_value(ctx, merged)? {
        Some(list) => export_list(ctx, &list, usage_hint(ctx, merged)),
        None if prints_path(ctx) => Ok(ui::print(kubeconfig_text(ctx, merged)?)?),
        None => Ok(()),
    }
}

/// Checks whether [`export`] can succeed. `merged` is the user's own kubeconfig.
pub(crate) fn check(ctx: &CommandContext, merged: Option<&MergeTarget>) -> Result<(), Error> {
    // The session cache stores the path as text.
    kubeconfig_text(ctx, merged)?;
    if variable_value(ctx, merged)?.is_some()
        && let Some(file) = shell_integration::file()
    {
        shell_integration::check(&file)?;
    }
    Ok(())
}

/// The value that a shell is to set KUBECONFIG to.
fn variable_value(ctx: &CommandContext, merged: Option<&MergeTarget>) -> Result<Option<String>, Error> {
    if prints_path(ctx) {
        // A path that is not text cannot be printed.
        return kubeconfig_text(ctx, merged).map(|_| None);
    }
    Ok(match merged {
        None => Some(env_variable::join([ctx.store()?.path()])?),
        Some(target) => target.list.as_ref().map(env_variable::join).transpose()?,
    })
}

/// The path of the kubeconfig, as text.
fn kubeconfig_text<'a>(ctx: &'a CommandContext, merged: Option<&'a MergeTarget>) -> Result<&'a str, Error> {
    let path = match merged {
        Some(target) => &target.path,
        None => ctx.store()?.path(),
    };
    let not_unicode = || UnexportablePath::NotUnicode { path: path.to_owned() };
    Ok(path.to_str().ok_or_else(not_unicode)?)
}

fn prints_path(ctx: &CommandContext) -> bool {
    ctx.config.no_eval && !ctx.config.quiet
}

/// How to make kubectl in this shell use the kubeconfig.
fn usage_hint(ctx: &CommandContext, merged: Option<&MergeTarget>) -> &'static str {
    if merged.is_some() {
        "to use it in this shell, run the line below, or sign in with: eval \"$(tka login --merge)\""
    } else if ctx.store().is_ok_and(|store| variable_has(store.path())) {
        "kubectl in this shell uses it already"
    } else {
        "to use it in this shell, run the line below, or sign in with: eval \"$(tka login)\""
    }
}

/// Has the calling shell set KUBECONFIG, or prints the line that does it. `usage` explains that line.
fn export_list(ctx: &CommandContext, list: &str, usage: &str) -> Result<(), Error> {
    let on_terminal = io::stdout().is_terminal();
    let file = shell_integration::file();
    let note = if file.is_some() {
        "kubectl in this shell uses it now"
    } else {
        usage
    };
    if let Some(file) = &file {
        shell_integration::set(file, Some(list))?;
    }
    if on_terminal {
        ctx.ui.notify(&messages::note(note, &ctx.ui.palette));
    }
    // Without a terminal the line is printed in any case. The shell that evaluates it may not be the one with the shell function.
    if on_terminal && file.is_some() {
        return Ok(());
    }
    Ok(ui::print(&ShellSyntax::detect(&variable, cfg!(windows)).export(list))?)
}

/// Unsets KUBECONFIG after a sign-out if it names the removed kubeconfig. Without the shell function, a note asks the user to do it.
pub(crate) fn unset_removed(ctx: &CommandContext) {
    let Some(path) = ctx.store().ok().map(KubeconfigStore::path) else {
        return;
    };
    if !variable_has(path) || path.exists() {
        return;
    }
    let left = variable_without(path);
    let is_set = shell_integration::file().is_some_and(|file| shell_integration::set(&file, left.as_deref()).is_ok());
    if !is_set {
        let text = "KUBECONFIG still names the removed file: unset KUBECONFIG";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
}

/// Whether the KUBECONFIG list of this environment contains `path`.
fn variable_has(path: &Path) -> bool {
    env_variable::paths().iter().any(|one| one == path)
}

/// The KUBECONFIG list of this environment without `path`. None if nothing is left.
fn variable_without(path: &Path) -> Option<String> {
    let others = env_variable::paths().into_iter();
    let others = others.filter(|one| one != path && !one.as_os_str().is_empty());
    env_variable::join(others).ok().filter(|list| !list.is_empty())
}
