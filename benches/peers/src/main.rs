//! Another DHT library as a server that does nothing else: `peers LIBRARY BIND BOOTSTRAP...`, until standard input ends.

use std::error::Error;
use std::io::Read;
use std::net::SocketAddr;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or("which library?")?;
    let bind: SocketAddr = arguments.next().ok_or("at which address?")?.parse()?;
    let bootstrap: Vec<String> = arguments.collect();
    match library.as_str() {
        "mainline" => serve_mainline(bind, &bootstrap),
        "librqbit-dht" => serve_rqbit(bind, bootstrap),
        other => Err(format!("{other} is neither mainline nor librqbit-dht").into()),
    }
}

/// It serves on a thread of its own, and limits nobody.
fn serve_mainline(bind: SocketAddr, bootstrap: &[String]) -> Result<(), Box<dyn Error>> {
    let SocketAddr::V4(bind) = bind else { return Err("it speaks IPv4 only".into()) };
    let dht = mainline::Dht::builder()
        .server_mode()
        .bind_address(*bind.ip())
        .port(bind.port())
        .bootstrap(bootstrap)
        .build()?;
    wait();
    drop(dht);
    Ok(())
}

/// It limits its own queries only.
fn serve_rqbit(bind: SocketAddr, bootstrap: Vec<String>) -> Result<(), Box<dyn Error>> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    event_loop.block_on(async {
        let config = librqbit_dht::DhtConfig {
            listen_addr: Some(bind),
            bootstrap_addrs: Some(bootstrap),
            ..librqbit_dht::DhtConfig::default()
        };
        let dht = librqbit_dht::DhtBuilder::with_config(config).await?;
        tokio::task::spawn_blocking(wait).await?;
        drop(dht);
        Ok(())
    })
}

/// Until nobody holds the other end of standard input.
fn wait() {
    let mut rest = Vec::new();
    // An error is an end too.
    let _ = std::io::stdin().read_to_end(&mut rest);
}
