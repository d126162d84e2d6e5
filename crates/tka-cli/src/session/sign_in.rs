//! Signing in, and writing the kubeconfig of a session.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tka_api::kubeconfig::{EntryNames, KubeconfigFile, NamedCluster, User};

use crate::api::access::AccessRequest;
use crate::api::client::{Client, ClientError, SignInResponse};
use crate::context::CommandContext;
use crate::credential;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::server_kubeconfig::{self, AuthMethod, Credential, ServerKubeconfig};
use crate::kubeconfig::session_cache::CachedSession;
use crate::session::login_request::{self, ReplacedSession};
use crate::session::persist::{self, ContextNaming, NewContext, PersistedContext};
use crate::session::provisioning::fetch_when_ready;
use crate::session::sign_out::sign_out;
use crate::sys::signals::SignalNotice;
use crate::terminal::messages;
use crate::terminal::output::RenderOptions;

/// How to write the context of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PersistOptions {
    pub(crate) form: AuthMethod,
    /// Whether to merge it into the user's kubeconfig too.
    pub(crate) merge: bool,
}

/// The time limit for ending a session whose kubeconfig cannot be written.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Servers give times in whole seconds, and so their clock.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);

/// What a signal is answered while a session is not written yet.
const HAS_BEGUN: &str = "tka: you are signed in: run `tka kubeconfig`, or end the session with `tka logout`";

/// Signs in, waits until the session is usable, and writes its kubeconfig.
pub(crate) fn sign_in(
    ctx: &CommandContext,
    access: &AccessRequest,
    options: PersistOptions,
) -> Result<PersistedContext, Error> {
    let suffix = access.name_suffix();
    let naming = suffix.map_or(ContextNaming::FromServer, ContextNaming::ForRule);
    sign_in_as(ctx, access, options, naming)
}

fn sign_in_as(
    ctx: &CommandContext,
    access: &AccessRequest,
    options: PersistOptions,
    naming: ContextNaming,
) -> Result<PersistedContext, Error> {
    persist::check(ctx, options.merge)?;
    let asked = Timestamp::now();
    let attempt = |access: &AccessRequest| login_request::sign_in_until_ready(ctx, access, options.form, None);
    let (client, signed_in) = login_request::with_required_reason(ctx, access, attempt)?;
    let session = signed_in.session.clone();
    let begun = SignedIn {
        access,
        client: &client,
        response: signed_in,
    };
    begun
        .persist(ctx, options, naming)
        .map_err(|error| end_unwritable(&client, session.as_deref(), asked, error))
}

/// A session that has begun, and is not written yet.
struct SignedIn<'a> {
    access: &'a AccessRequest,
    client: &'a Client,
    response: SignInResponse,
}

impl SignedIn<'_> {
    /// Writes its kubeconfig and credential.
    fn persist(
        mut self,
        ctx: &CommandContext,
        options: PersistOptions,
        naming: ContextNaming,
    ) -> Result<PersistedContext, Error> {
        let _notice = SignalNotice::new(HAS_BEGUN);
        let spinner = ctx.ui.spinner("signing in");
        let sent = match self.response.kubeconfig.take() {
            Some(sent) => *sent?,
            None => fetch_when_ready(self.client, options.form)?,
        };
        let session = self.response.session.clone().or_else(|| sent.session.clone());
        let (kubeconfig, way) = self.kubeconfig(ctx, sent, session.as_deref(), options.form, &naming)?;
        let new = NewContext {
            kubeconfig: kubeconfig.clone(),
            session: session.clone(),
            cached: Some(CachedSession {
                name: session.clone(),
                gateway: way == Credential::None,
                ..CachedSession::from(self.response.login.clone())
            }),
            naming,
            merge: options.merge,
        };
        let persisted = persist::persist(ctx, new)?;
        if let Some(session) = session {
            self.keep_credential(ctx, &session, way);
        }
        drop(spinner);
        self.tell(ctx, &kubeconfig, &persisted);
        note_embedded_token(ctx, options.form, way);
        note_merge(ctx, &persisted);
        if way == Credential::Token {
            warn_readable(ctx, &persisted);
        }
        warn_unverified(ctx, &kubeconfig);
        Ok(persisted)
    }

    /// The server's kubeconfig with what this program adds to it.
    fn kubeconfig(
        &self,
        ctx: &CommandContext,
        sent: ServerKubeconfig,
        session: Option<&str>,
        form: AuthMethod,
        naming: &ContextNaming,
    ) -> Result<(KubeconfigFile, Credential), ClientError> {
        let (mut kubeconfig, way) = with_credential(sent, self.client, session, self.access, form)?;
        if way == Credential::Plugin
            && let ContextNaming::Unchanged(names) = naming
        {
            keep_plugin_arguments(ctx, &mut kubeconfig, names);
        }
        if let Some(namespace) = &self.access.namespace {
            server_kubeconfig::set_namespace(&mut kubeconfig, namespace);
        }
        Ok((kubeconfig, way))
    }

    fn keep_credential(&mut self, ctx: &CommandContext, session: &str, way: Credential) {
        match self.response.credential.take() {
            Some(credential) => credential::store(ctx, session, credential),
            // The gateway needs no cached credential.
            None if way == Credential::None => credential::remove(ctx, session),
            None => {}
        }
    }

    fn tell(&self, ctx: &CommandContext, kubeconfig: &KubeconfigFile, persisted: &PersistedContext) {
        let rendering = RenderOptions::for_stderr(&ctx.ui.palette);
        let details = details(ctx, self.client, kubeconfig, persisted);
        let text = messages::signed_in(&self.response.login, details, &rendering);
        ctx.ui.notify(&text);
    }
}

/// The error of a session that cannot be written. One that began when it was `asked` for is of no use then, and is ended. One that was there before
/// may be in use, also in another home folder of this device.
fn end_unwritable(client: &Client, session: Option<&str>, asked: Timestamp, error: Error) -> Error {
    let may_come_later = matches!(&error, Error::Client(error) if !error.is_unusable_kubeconfig());
    if may_come_later {
        return error;
    }
    let client = client.with_fresh_deadline(END_LIMIT);
    let new = session.filter(|name| began_since(&client, name, asked));
    match new.map(|name| client.end_session(name)) {
        Some(Ok(_)) => Error::NotKept(error.into()),
        _ => Error::NotPersisted(error.into()),
    }
}

/// Whether the server says that the session began at that time or later. Where it does not say, it did not.
fn began_since(client: &Client, session: &str, time: Timestamp) -> bool {
    let sessions = client.sessions().map(|sessions| sessions.items).unwrap_or_default();
    let found = sessions.into_iter().find(|one| one.name == session);
    found.is_some_and(|one| one.signed_in.duration_since(time) >= -ROUNDING)
}

/// Ends one session and signs in again. The names stay if the rule is the same.
pub(crate) fn sign_in_again(
    ctx: &CommandContext,
    access: AccessRequest,
    options: PersistOptions,
) -> Result<PersistedContext, Error> {
    let (access, replaced, rules) = login_request::plan_replacement(ctx, access)?;
    // Checked before the session ends.
    persist::check(ctx, options.merge)?;
    let ReplacedSession::One { name, is_same_rule } = replaced else {
        if replaced == ReplacedSession::AllOfUser {
            // The new session does not depend on an old one.
            sign_out(ctx)?;
        }
        return sign_in(ctx, &access, options);
    };
    let names = persist::entry_names_of(ctx, &name).filter(|_| is_same_rule);
    let had_gateway = persist::has_gateway(ctx, &name).filter(|_| is_same_rule && options.form.is_open());
    // Checked before the session ends: the rule may no longer allow the way that it had.
    let had_gateway = login_request::offered_route(ctx, &access, rules, had_gateway)?;
    let options = PersistOptions {
        form: options.form.or_previous(had_gateway),
        merge: options.merge || persist::is_merged(ctx, &name),
    };
    // Again: only now it is known whether it is merged.
    persist::check(ctx, options.merge)?;
    match ctx.client()?.end_session(&name) {
        Ok(_) => credential::remove(ctx, &name),
        Err(error) if error.exit() == Exit::NotSignedIn => credential::remove(ctx, &name),
        Err(error) => return Err(error.into()),
    }
    let persisted = match names {
        Some(names) => sign_in_as(ctx, &access, options, ContextNaming::Unchanged(names)),
        None => sign_in(ctx, &access, options),
    };
    match persisted {
        Ok(persisted) if persisted.session.as_ref() == Some(&name) => Ok(persisted),
        Ok(persisted) => persist::remove_session(ctx, &name).map(|()| persisted),
        // The first error matters.
        Err(error) => {
            let _ = persist::remove_session(ctx, &name);
            Err(error)
        }
    }
}

/// Keeps the plugin arguments of the entry under `names`. They say how to sign in again.
fn keep_plugin_arguments(ctx: &CommandContext, kubeconfig: &mut KubeconfigFile, names: &EntryNames) {
    let Some(before) = persist::plugin_user(ctx, names) else {
        return;
    };
    let session = |user: &User| {
        let exec = user.exec.as_ref();
        exec.and_then(|exec| exec_plugin::session_argument(&exec.args))
            .map(ToOwned::to_owned)
    };
    for named in &mut kubeconfig.users {
        if session(&named.user) == session(&before) {
            named.user = before.clone();
        }
    }
}

/// Warns if the certificate of the API server is not verified.
pub(crate) fn warn_unverified(ctx: &CommandContext, kubeconfig: &KubeconfigFile) {
    let is_unverified = |named: &NamedCluster| named.cluster.insecure_skip_tls_verify;
    if kubeconfig.clusters.iter().any(is_unverified) {
        let text = "the certificate of the cluster's API server is not verified";
        ctx.ui.notify(&messages::warning(text, &ctx.ui.palette));
    }
}

/// Fetches and writes the kubeconfig of the current session. Repairs entries of other sessions that call `tka` at an outdated path.
pub(crate) fn fetch_kubeconfig(ctx: &CommandContext, options: PersistOptions) -> Result<PersistedContext, Error> {
    persist::check(ctx, options.merge)?;
    repair(ctx);
    let client = ctx.client()?;
    let spinner = ctx.ui.spinner("fetching the kubeconfig");
    let form = options.form.or_previous(persist::current_has_gateway(ctx));
    let sent = match fetch_when_ready(&client, form) {
        // The server's current session may be another one, which does not have this context's way.
        Err(error) if form != options.form && error.exit() == Exit::Refused => fetch_when_ready(&client, options.form)?,
        sent => sent?,
    };
    let cached = login_request::cached_session(&client, sent.session.as_deref());
    let session = sent.session.clone().or_else(|| cached.as_ref()?.name.clone());
    let access = AccessRequest::default();
    let (mut kubeconfig, way) = with_credential(sent, &client, session.as_deref(), &access, form)?;
    let cached = cached.map(|session| CachedSession {
        gateway: way == Credential::None,
        ..session
    });
    let names_of = |session| persist::entry_names_of(ctx, session);
    let names = session.as_deref().and_then(names_of);
    if let (Some(names), Credential::Plugin) = (&names, way) {
        keep_plugin_arguments(ctx, &mut kubeconfig, names);
    }
    let new = NewContext {
        kubeconfig,
        session,
        cached,
        naming: names.map_or(ContextNaming::FromServer, ContextNaming::Unchanged),
        merge: options.merge,
    };
    let persisted = persist::persist(ctx, new)?;
    drop(spinner);
    let text = match way {
        Credential::Plugin => "kubeconfig written",
        Credential::Token => "kubeconfig with a fresh credential written",
        Credential::None => "kubeconfig with the gateway's address written",
    };
    ctx.ui.notify(&messages::done(text, &ctx.ui.palette));
    note_embedded_token(ctx, options.form, way);
    note_merge(ctx, &persisted);
    Ok(persisted)
}

/// Repairs kubeconfigs that call this program at an outdated path. An error does not stop the command.
fn repair(ctx: &CommandContext) {
    let palette = &ctx.ui.palette;
    match persist::repair(ctx) {
        Ok(0) => {}
        Ok(1) => ctx.ui.notify(&messages::done(
            "updated the path of tka for one user of your kubeconfigs",
            palette,
        )),
        Ok(count) => {
            let text = format!("updated the path of tka for {count} users of your kubeconfigs");
            ctx.ui.notify(&messages::done(&text, palette));
        }
        Err(error) => crate::terminal::ui::write_stderr(&error.render(&RenderOptions::for_stderr(palette))),
    }
}

/// Notes where the context was merged.
pub(crate) fn note_merge(ctx: &CommandContext, persisted: &PersistedContext) {
    if let Some(target) = &persisted.merged {
        let text = format!(
            "{} is the current context of {}",
            persisted.context,
            target.path.display()
        );
        ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
    }
}

/// Adds this program's plugin or a token to the server's kubeconfig; see [`ServerKubeconfig::with_credential`].
pub(crate) fn with_credential(
    sent: ServerKubeconfig,
    client: &Client,
    session: Option<&str>,
    access: &AccessRequest,
    form: AuthMethod,
) -> Result<(KubeconfigFile, Credential), ClientError> {
    let filled = sent.with_credential(client.server(), session, &access.rule_options(), form);
    filled.map_err(|flaw| client.unusable(flaw))
}

/// Warns if others may read the token that was merged into a kubeconfig, whose permissions stay.
fn warn_readable(ctx: &CommandContext, persisted: &PersistedContext) {
    let merged = persisted.merged.as_ref();
    let Some(path) = merged
        .map(|target| &target.path)
        .filter(|path| is_readable_by_others(path))
    else {
        return;
    };
    let path = path.display();
    let text = format!("others may read {path}, which has a token now: `chmod go-rwx {path}`");
    ctx.ui.notify(&messages::warning(&text, &ctx.ui.palette));
}

#[cfg(unix)]
fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &Path) -> bool {
    false
}

fn note_embedded_token(ctx: &CommandContext, form: AuthMethod, way: Credential) {
    if form != AuthMethod::Token && way == Credential::Token {
        let text = "this server gives credentials in kubeconfigs only: the file contains a token, and `tka kubeconfig` fetches a fresh one";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
}

/// The lines that `--long` adds to a sign-in.
fn details(
    ctx: &CommandContext,
    client: &Client,
    kubeconfig: &KubeconfigFile,
    persisted: &PersistedContext,
) -> Vec<(&'static str, String)> {
    if !ctx.config.long {
        return vec![];
    }
    let cluster = kubeconfig.clusters.first();
    let api_server = cluster.map(|named| named.cluster.server.clone()).unwrap_or_default();
    let path = ctx.kubeconfig().unwrap_or(Path::new(""));
    vec![
        ("server", client.server().to_string()),
        ("cluster", api_server),
        ("context", persisted.context.clone()),
        ("kubeconfig", path.display().to_string()),
    ]
}
