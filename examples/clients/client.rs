//! A host in Rust: registers a capsule, files a session, asks, and follows. With the standard
//! library alone, so `rustc client.rs` builds it; a host of your own would take `ureq` and `serde`.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Registry {
    address: String,
    token: String,
}

impl Registry {
    /// Send a request, and return what is read of the answer, after its head.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "{method} /v1/namespaces/default{path} HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            self.address,
            self.token,
            body.len()
        )?;
        let mut answer = BufReader::new(stream);
        let mut status = String::new();
        answer.read_line(&mut status)?;
        let mut line = status.clone();
        while line != "\r\n" {
            line.clear();
            answer.read_line(&mut line)?;
        }
        if status.split(' ').nth(1) != Some("200") {
            return Err(status.into());
        }
        Ok(answer)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
        let mut text = String::new();
        self.send(method, path, headers, body)?.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Return the values of the members of that name, in order, as they stand in the JSON.
fn members<'a>(json: &'a str, name: &str) -> Vec<&'a str> {
    json.split(&format!("\"{name}\":"))
        .skip(1)
        .map(|rest| rest.split([',', '}', ']']).next().unwrap_or("").trim_matches('"'))
        .collect()
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn uuid() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_string())
}

fn main() -> Result<()> {
    let url = env::var("REGISTRY_URL")?;
    let registry = Registry {
        address: url.trim_start_matches("http://").to_string(),
        token: env::var("REGISTRY_TOKEN")?,
    };
    let start = registry.ask("GET", "/anchor", "", "")?;

    let manifest = fs::read_to_string(env::args().nth(1).ok_or("say the manifest")?)?;
    let body = format!("{{\"manifest\":{}}}", quoted(&manifest));
    let made = registry.ask("POST", "/capsules", "", &body)?;
    println!("registered {}", members(&made, "revision")[0]);

    // Sent again under the same key, as after a lost answer, it is not done again.
    let (session, key) = (uuid()?, format!("Idempotency-Key: {}\r\n", uuid()?));
    for _ in 0..2 {
        let path = format!("/uuids/{session}");
        let filed = registry.ask("PUT", &path, &key, "{\"capsule_id\":\"notes\"}")?;
        println!("filed {} {}", members(&filed, "revision")[0], members(&filed, "repeated")[0]);
    }

    let question = |value| format!("{{\"uuid\":\"{session}\",\"capability\":\"kv\",\"value\":\"{value}\"}}");
    let asked = format!("[{},{}]", question("index"), question("other"));
    let decided = registry.ask("POST", "/check", "", &asked)?;
    println!("allowed {}", members(&decided, "allowed").join(" "));

    // From a revision of that very history: nothing is missed, and another history is an error.
    let (after, incarnation) = (members(&start, "revision")[0], members(&start, "incarnation")[0]);
    let path = format!("/watch?after={after}&incarnation={incarnation}");
    let mut seen = Vec::new();
    for line in registry.send("GET", &path, "Accept: application/x-ndjson\r\n", "")?.lines() {
        let line = line?;
        if line.starts_with("{\"revision\"") {
            // Between them stand the lengths of chunks, and empty lines as signs of life.
            seen.push(members(&line, "revision")[0].to_string());
        }
        if seen.len() == 2 {
            break;
        }
    }
    println!("saw {}", seen.join(" "));
    Ok(())
}
