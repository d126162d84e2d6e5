//! x
use base64::Engine;
use serde_json::json;
fn main() {
    for line in std::io::stdin().lines() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(line.unwrap()).unwrap();
        let out = match tka_kubeconfig::Kubeconfig::read(&bytes) {
            Err(e) => json!({"error": e.to_string()}),
            Ok(c) => {
                let mut cl: Vec<_> = c.clusters.iter().map(|n| json!([n.name, n.item.server, n.item.tls_server_name, n.item.insecure_skip_tls_verify, n.item.certificate_authority, String::from_utf8_lossy(&n.item.certificate_authority_data), n.item.proxy_url])).collect();
                let mut us: Vec<_> = c.users.iter().map(|n| json!([n.name, n.item.exec.iter().flat_map(|e| [json!(e.api_version), json!(e.command), json!(e.args)]).collect::<Vec<_>>()])).collect();
                let mut co: Vec<_> = c.contexts.iter().map(|n| json!([n.name, n.item.cluster, n.item.user, n.item.namespace])).collect();
                for l in [&mut cl, &mut us, &mut co] { l.sort_by_key(|x| x[0].as_str().unwrap().to_owned()); }
                json!({"current": c.current_context, "clusters": cl, "users": us, "contexts": co})
            }
        };
        println!("{out}");
    }
}
