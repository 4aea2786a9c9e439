//! A complete use of the store in fifteen lines: `cargo run --example embed`

use syncline::{Store, WriteBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let users = store.keyspace("users")?;
    users.put("ada", "1815")?; // returns once it survives a power loss

    let mut batch = WriteBatch::new(); // all of it or nothing of it
    batch.put(&users, "alan", "1912");
    batch.put(&users, "grace", "1906");
    store.write(batch)?;

    for entry in users.prefix("a")? {
        let entry = entry?;
        println!("{} {}", entry.key().escape_ascii(), entry.value().escape_ascii());
    }
    Ok(store.close()?)
}
