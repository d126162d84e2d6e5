//! Reads values into the fields of a kubeconfig, as Go reads JSON into structs.

use std::collections::{BTreeMap, HashSet};

use super::{Cluster, Context, ExecConfig, Kubeconfig, Named, User};
use crate::Unreadable;
use crate::scalar::{Scalar, base64};
use crate::value::{self, Key, Value, ValueKind};
use crate::yaml::Node;

/// A map whose keys are fields.
struct Fields<'v> {
    map: Option<&'v BTreeMap<Key, Value>>,
}

type Field<'v, T> = fn(&str, &'v Value) -> Result<T, Unreadable>;

// === impl Kubeconfig ===

impl Kubeconfig {
    /// What kubectl reads in a document; nothing in none.
    pub(crate) fn from_node(root: Option<&Node>) -> Result<Self, Unreadable> {
        let Some(root) = root else {
            return Ok(Self::default());
        };
        let root = value::value(root)?;
        let fields = Fields::of("the kubeconfig", &root)?;
        check_kind(&fields, root.line)?;
        fields.each("preferences", preferences)?;
        fields.each("extensions", extensions)?;
        Ok(Self {
            current_context: fields.get("current-context", text)?,
            clusters: named(&fields, "clusters", "cluster", cluster)?,
            users: named(&fields, "users", "user", user)?,
            contexts: named(&fields, "contexts", "context", context)?,
        })
    }
}

/// kubectl reads `apiVersion` and `kind` however they are capitalized, and before all others
/// (<https://github.com/kubernetes/apimachinery/blob/v0.35.4/pkg/runtime/serializer/json/meta.go>).
fn check_kind(fields: &Fields<'_>, line: usize) -> Result<(), Unreadable> {
    let (mut version, mut kind) = (String::new(), String::new());
    for (key, value) in fields.map.into_iter().flatten() {
        let Key::Text(key) = key else { continue };
        let read = match &*folded(key) {
            "apiversion" => &mut version,
            "kind" => &mut kind,
            _ => continue,
        };
        if !value.is_null() {
            *read = text(key, value)?;
        }
    }
    // Only the exact keys count later, but there they must be texts too.
    if !matches!(&*version, "" | "/" | "v1" | "/v1") {
        return Err(Unreadable::new(line, "its `apiVersion` is not `v1`"));
    }
    if !matches!(&*kind, "" | "Config") {
        return Err(Unreadable::new(line, "its `kind` is not `Config`"));
    }
    Ok(())
}

/// Two keys are one to Go where they fold to one text
/// (<https://cs.opensource.google/go/go/+/refs/tags/go1.25.0:src/encoding/json/fold.go>).
fn folded(key: &str) -> String {
    let fold = |c: char| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

/// The items of a list, each with a name.
fn named<T: Default>(
    fields: &Fields<'_>,
    list: &'static str,
    field: &'static str,
    read: impl Fn(&Fields<'_>) -> Result<T, Unreadable>,
) -> Result<Vec<Named<T>>, Unreadable> {
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for value in fields.get(list, items)? {
        let fields = Fields::of(field, value)?;
        let name = fields.get("name", text)?;
        if !names.insert(name.clone()) {
            let problem = format!("`{list}` has two items that are named `{name}`");
            return Err(Unreadable::new(value.line, &problem));
        }
        let item = match fields.find(field) {
            Some(value) => read(&Fields::of(field, value)?)?,
            None => T::default(),
        };
        found.push(Named { name, item });
    }
    Ok(found)
}

fn cluster(fields: &Fields<'_>) -> Result<Cluster, Unreadable> {
    fields.each("disable-compression", boolean)?;
    fields.each("extensions", extensions)?;
    Ok(Cluster {
        server: fields.get("server", text)?,
        tls_server_name: fields.get("tls-server-name", text)?,
        insecure_skip_tls_verify: fields.get("insecure-skip-tls-verify", boolean)?,
        certificate_authority: fields.get("certificate-authority", text)?,
        certificate_authority_data: fields.get("certificate-authority-data", bytes)?,
        proxy_url: fields.get("proxy-url", text)?,
    })
}

fn user(fields: &Fields<'_>) -> Result<User, Unreadable> {
    const TEXTS: [&str; 8] = [
        "client-certificate",
        "client-key",
        "tokenFile",
        "as",
        "as-uid",
        "username",
        "password",
        "token",
    ];
    for key in TEXTS {
        fields.each(key, text)?;
    }
    for key in ["client-certificate-data", "client-key-data"] {
        fields.each(key, bytes)?;
    }
    fields.each("as-groups", texts)?;
    fields.each("as-user-extra", |field, value| of_map(field, value, texts))?;
    fields.each("auth-provider", auth_provider)?;
    fields.each("extensions", extensions)?;
    let exec = fields.find("exec").filter(|value| !value.is_null());
    let is_token = !fields.get("token", text)?.is_empty() && fields.map.is_some_and(|map| map.len() == 1);
    Ok(User {
        exec: exec.map(call).transpose()?,
        is_token,
        is_empty: fields.map.is_none_or(BTreeMap::is_empty),
    })
}

fn call(value: &Value) -> Result<ExecConfig, Unreadable> {
    let fields = Fields::of("exec", value)?;
    fields.each("installHint", text)?;
    fields.each("provideClusterInfo", boolean)?;
    fields.each("interactiveMode", text)?;
    for variable in fields.get("env", items)? {
        let variable = Fields::of("env", variable)?;
        variable.each("name", text)?;
        variable.each("value", text)?;
    }
    Ok(ExecConfig {
        api_version: fields.get("apiVersion", text)?,
        command: fields.get("command", text)?,
        args: fields.get("args", texts)?,
    })
}

fn context(fields: &Fields<'_>) -> Result<Context, Unreadable> {
    fields.each("extensions", extensions)?;
    Ok(Context {
        cluster: fields.get("cluster", text)?,
        user: fields.get("user", text)?,
        namespace: fields.get("namespace", text)?,
    })
}

fn preferences(field: &str, value: &Value) -> Result<(), Unreadable> {
    let fields = Fields::of(field, value)?;
    fields.each("colors", boolean)?;
    fields.each("extensions", extensions)
}

fn auth_provider(field: &str, value: &Value) -> Result<(), Unreadable> {
    let fields = Fields::of(field, value)?;
    fields.each("name", text)?;
    fields.each("config", |field, value| of_map(field, value, text))
}

/// Of two extensions of one name, the first must say nothing.
fn extensions(field: &str, value: &Value) -> Result<(), Unreadable> {
    let mut names = HashSet::new();
    for value in items(field, value)? {
        let fields = Fields::of(field, value)?;
        let name = fields.get("name", text)?;
        if names.contains(&name) {
            let problem = format!("`{field}` has two items that are named `{name}`");
            return Err(Unreadable::new(value.line, &problem));
        }
        if fields.find("extension").is_some_and(|value| !value.is_null()) {
            names.insert(name);
        }
    }
    Ok(())
}

// === impl Fields ===

impl<'v> Fields<'v> {
    fn of(field: &str, value: &'v Value) -> Result<Self, Unreadable> {
        match &value.says {
            ValueKind::Map(map) => Ok(Self { map: Some(map) }),
            _ if value.is_null() => Ok(Self { map: None }),
            _ => Err(value.is_not(field, "a map")),
        }
    }

    fn find(&self, field: &str) -> Option<&'v Value> {
        self.map?.get(&Key::Text(field.to_owned()))
    }

    fn get<T: Default>(&self, field: &'static str, read: Field<'v, T>) -> Result<T, Unreadable> {
        self.find(field)
            .map_or_else(|| Ok(T::default()), |value| read(field, value))
    }

    /// Sees that it could be read.
    fn each<T>(&self, field: &str, read: impl Fn(&str, &'v Value) -> Result<T, Unreadable>) -> Result<(), Unreadable> {
        match self.find(field) {
            Some(value) => read(field, value).map(drop),
            None => Ok(()),
        }
    }
}

fn text(field: &str, value: &Value) -> Result<String, Unreadable> {
    match &value.says {
        ValueKind::Scalar(Scalar::Text(text)) => Ok(text.clone()),
        ValueKind::Scalar(Scalar::Null) => Ok(String::new()),
        _ => Err(value.is_not(field, "a text")),
    }
}

fn boolean(field: &str, value: &Value) -> Result<bool, Unreadable> {
    match &value.says {
        ValueKind::Scalar(Scalar::Bool(value)) => Ok(*value),
        ValueKind::Scalar(Scalar::Null) => Ok(false),
        _ => Err(value.is_not(field, "`true` or `false`")),
    }
}

/// Base64, or a list of numbers, which Go reads too.
fn bytes(field: &str, value: &Value) -> Result<Vec<u8>, Unreadable> {
    let is_not = |value: &Value| value.is_not(field, "base64 without spaces");
    match &value.says {
        ValueKind::Scalar(Scalar::Text(text)) => base64(text).ok_or_else(|| is_not(value)),
        ValueKind::Scalar(Scalar::Null) => Ok(Vec::new()),
        ValueKind::List(items) => items
            .iter()
            .map(|item| byte(item).ok_or_else(|| is_not(item)))
            .collect(),
        _ => Err(is_not(value)),
    }
}

fn byte(value: &Value) -> Option<u8> {
    match &value.says {
        ValueKind::Scalar(Scalar::Null) => Some(0),
        ValueKind::Scalar(Scalar::Int(number)) => u8::try_from(*number).ok(),
        ValueKind::Scalar(Scalar::Float(number)) => {
            (0..=u8::MAX).find(|byte| f64::from(*byte).to_bits() == number.to_bits())
        }
        _ => None,
    }
}

fn texts(field: &str, value: &Value) -> Result<Vec<String>, Unreadable> {
    items(field, value)?.iter().map(|item| text(field, item)).collect()
}

fn items<'v>(field: &str, value: &'v Value) -> Result<&'v [Value], Unreadable> {
    match &value.says {
        ValueKind::List(items) => Ok(items),
        ValueKind::Scalar(Scalar::Null) => Ok(&[]),
        _ => Err(value.is_not(field, "a list")),
    }
}

/// Sees that each value of a map could be read.
fn of_map<T>(field: &str, value: &Value, read: fn(&str, &Value) -> Result<T, Unreadable>) -> Result<(), Unreadable> {
    let values = Fields::of(field, value)?.map.into_iter().flatten();
    let mut values = values.into_iter();
    values.try_for_each(|(_, value)| read(field, value).map(drop))
}

// === impl Value ===

impl Value {
    fn is_null(&self) -> bool {
        matches!(self.says, ValueKind::Scalar(Scalar::Null))
    }

    /// What is wrong where `wanted` should be.
    fn is_not(&self, field: &str, wanted: &str) -> Unreadable {
        let (is, advice) = match &self.says {
            ValueKind::List(_) => ("a list", ""),
            ValueKind::Map(_) => ("a map", ""),
            ValueKind::Scalar(Scalar::Text(_)) => ("another text", ""),
            ValueKind::Scalar(Scalar::Null) => ("nothing", ""),
            ValueKind::Scalar(Scalar::Bool(_)) => ("`true` or `false` to kubectl", "; write it in quotes"),
            ValueKind::Scalar(Scalar::Int(_) | Scalar::Float(_)) => ("a number to kubectl", "; write it in quotes"),
        };
        let advice = if wanted == "a text" { advice } else { "" };
        let problem = format!("`{field}` must be {wanted} and is {is}{advice}");
        Unreadable::new(self.line, &problem)
    }
}
