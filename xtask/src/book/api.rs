//! The HTTP API as a page, from the document that describes it.

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page about `document`, in the `OpenAPI` format.
pub(super) fn page(document: &Value) -> String {
    let paths = document["paths"].as_object().into_iter().flatten();
    let sections = paths.flat_map(|(path, item)| {
        METHODS
            .iter()
            .filter_map(move |method| section(path, method, item.get(method)?))
    });
    let sections: Vec<_> = sections.collect();
    format!(
        "# HTTP API\n\n<!-- Made from docs/openapi.json: change the code instead. -->\n\nA server serves this description at `/openapi.json`, and a \
         browser for it at `/swagger/`. Nothing in a request says who calls: the connection does.\n\n{}",
        sections.concat()
    )
}

fn section(path: &str, method: &str, operation: &Value) -> Option<String> {
    let summary = operation["summary"].as_str().or(operation["description"].as_str())?;
    let details = match (&operation["summary"], &operation["description"]) {
        (Value::String(_), Value::String(text)) => format!("{text}\n\n"),
        _ => String::new(),
    };
    let parameters = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parameter| {
            let text = |key: &str| cell(parameter[key].as_str().unwrap_or_default());
            format!("| `{}` | {} | {} |\n", text("name"), text("in"), text("description"))
        });
    let parameters = table(
        "| parameter | in | meaning |\n|---|---|---|\n",
        &parameters.collect::<Vec<_>>(),
    );
    let body = schema(&operation["requestBody"])
        .map(|name| format!("Its body is a `{name}`.\n\n"))
        .unwrap_or_default();
    let answers = operation["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, answer)| {
            let body = schema(answer).map(|name| format!("`{name}`")).unwrap_or_default();
            format!(
                "| {status} | {} | {body} |\n",
                cell(answer["description"].as_str().unwrap_or_default())
            )
        });
    let answers = table(
        "| status | meaning | body |\n|---|---|---|\n",
        &answers.collect::<Vec<_>>(),
    );
    let head = format!("## `{} {path}`\n\n{summary}\n\n", method.to_uppercase());
    Some(head + &details + &body + &parameters + &answers)
}

fn table(head: &str, rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{head}{}\n", rows.concat())
}

/// The name of the schema of a body.
fn schema(of: &Value) -> Option<&str> {
    let mut contents = of["content"].as_object()?.values();
    contents.find_map(|content| content["schema"]["$ref"].as_str()?.rsplit('/').next())
}

/// On one line, as a table needs it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_document_is_on_the_page() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let page = page(&document);
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item
                .as_object()
                .unwrap()
                .keys()
                .filter(|method| METHODS.contains(&method.as_str()))
            {
                assert!(
                    page.contains(&format!("## `{} {path}`", method.to_uppercase())),
                    "{method} {path}"
                );
                operations += 1;
            }
        }
        assert!(operations > 5 && page.contains("| 403 |"), "{page}");
    }
}
