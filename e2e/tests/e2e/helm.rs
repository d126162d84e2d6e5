//! A real helm, and what it is run on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use e2e::{Outcome, World};
use serde_json::{Value, json};

/// helm, and a folder for its files.
pub(crate) struct Helm<'w> {
    world: &'w World,
    pub(crate) folder: PathBuf,
}

// === impl Helm ===

impl<'w> Helm<'w> {
    pub(crate) fn new(world: &'w World, name: &str) -> Outcome<Self> {
        let folder = world.new_folder(name)?;
        Ok(Self { world, folder })
    }

    pub(crate) fn done(&self, words: &[&str]) -> Outcome<String> {
        Ok(self.world.testbed.helm(words)?.success()?)
    }

    /// A release without a server as it would be installed, with its custom resource left out.
    pub(crate) fn render(&self, release: &str, namespace: &str, more: &[&str]) -> Outcome<String> {
        let chart = chart();
        let words = [
            "template",
            release,
            &chart,
            "--namespace",
            namespace,
            "--set=crds.install=false",
            "--set=server.enabled=false",
        ];
        self.done(&[&words, more].concat())
    }

    /// The same, with values of a file.
    pub(crate) fn render_values(&self, values: &Value) -> Outcome<String> {
        let file = self.file("values.yaml", &values.to_string())?;
        self.render("tka", "default", &["--values", &file])
    }

    /// Has the API server judge it, without effect.
    pub(crate) fn would_install(&self, rendered: &str) -> Outcome {
        let file = self.file("rendered.yaml", rendered)?;
        let words = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            &file,
        ];
        self.world.testbed.kubectl(&words)?;
        Ok(())
    }

    /// A release with a server as it would be installed, with its custom resource left out. `more` comes last and wins.
    pub(crate) fn render_server(&self, release: &str, namespace: &str, more: &Value) -> Outcome<String> {
        let values = self.file("server.yaml", &with_server(more).to_string())?;
        let chart = chart();
        self.done(&[
            "template",
            release,
            &chart,
            "--namespace",
            namespace,
            "--values",
            &values,
        ])
    }

    /// Why such a release is not rendered.
    pub(crate) fn refusal(&self, more: &Value) -> Outcome<String> {
        match self.render_server("tka", "default", more) {
            Ok(_) => Err(format!("{more} is taken").into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> Outcome<String> {
        let path = self.folder.join(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }
}

pub(crate) fn chart() -> String {
    testbed::chart_dir().display().to_string()
}

/// The objects that kubectl printed, be it one after the other or as a list.
pub(crate) fn documents(printed: &str) -> Outcome<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_json::Deserializer::from_str(printed).into_iter::<Value>() {
        let mut document = document?;
        if let Value::Array(items) = document["items"].take() {
            objects.extend(items);
            continue;
        }
        if let Some(fields) = document.as_object_mut() {
            fields.remove("items");
        }
        objects.push(document);
    }
    Ok(objects)
}

/// The least values with which a server is installed, and `more`.
pub(crate) fn with_server(more: &Value) -> Value {
    let mut values = json!({
        "roles": ["view"],
        "crds": { "install": false },
        "clusterInfo": { "apiEndpoint": "https://kubernetes.example.com:6443" },
        "tailscale": { "authKey": { "value": "tskey-auth-none" } },
    });
    merge(&mut values, more);
    values
}

/// Puts `more` over `into`.
pub(crate) fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// The objects of a rendered release.
pub(crate) fn objects(rendered: &str) -> Outcome<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(rendered)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// The objects of a kind, by name.
pub(crate) fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<(&'o str, &'o Value)> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    of_kind
        .map(|object| (object["metadata"]["name"].as_str().unwrap_or_default(), object))
        .collect()
}

/// The objects of a release `tka` in `default`.
pub(crate) fn rendered(helm: &Helm<'_>, more: &Value) -> Outcome<Vec<Value>> {
    objects(&helm.render_server("tka", "default", more)?)
}

/// The pods of its `StatefulSet`.
pub(crate) fn pod(objects: &[Value]) -> Outcome<Value> {
    let sets = of_kind(objects, "StatefulSet");
    let (_, set) = sets.first().ok_or("no StatefulSet")?;
    Ok(set["spec"]["template"].clone())
}

/// The containers of a pod: the server's and tailscale's.
pub(crate) fn containers(pod: &Value) -> [&Value; 2] {
    [&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]]
}

/// The variables of a container that have a value.
pub(crate) fn variables(container: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let variables = container["env"].as_array().into_iter().flatten();
    let valued = variables.filter(|variable| variable["value"].is_string());
    valued
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect()
}
