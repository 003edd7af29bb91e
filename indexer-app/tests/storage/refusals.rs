//! Databases that cannot be used: one sentence, and nothing touched.

use indexer_app::db::{self, DatabaseChoice, DatabaseError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn sentence(url: String) -> String {
    let sentence = db::connect(&DatabaseChoice::Shared { url }, 1).await.unwrap_err().to_string();
    assert!(!sentence.contains('\n') && !sentence.contains("secret"), "{sentence}");
    sentence
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_to_be_unreachable() {
    let sentence = sentence("postgres://me:secret@127.0.0.1:1/none".to_owned()).await;
    assert!(sentence.starts_with("the database at 127.0.0.1:1/none cannot be reached: "), "{sentence}");
    assert!(sentence.contains("refused"), "{sentence}");
}

#[tokio::test]
async fn something_else_that_listens_there_is_no_database() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (sentence, ()) = tokio::join!(sentence(format!("postgres://me:secret@127.0.0.1:{port}/x")), other);
    assert!(sentence.contains("cannot be reached"), "{sentence}");
}

/// A message of PostgreSQL's protocol: type, length, body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// Its length and its code.
const SSL_REQUEST: [u32; 2] = [8, 80_877_103];

/// Greets a client as a server of this version and answers one query with it; returns what was asked.
async fn old_server(listener: TcpListener, version: &str) -> Vec<u8> {
    let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    // First it is asked whether it speaks TLS.
    assert_eq!([stream.read_u32().await.unwrap(), stream.read_u32().await.unwrap()], SSL_REQUEST);
    stream.write_all(b"N").await.unwrap();
    let startup = stream.read_u32().await.unwrap();
    stream.read_exact(&mut vec![0; startup as usize - 4]).await.unwrap();
    let ready = message(b'Z', b"I");
    let authenticated = message(b'R', &0_u32.to_be_bytes());
    stream.write_all(&[authenticated, ready.clone()].concat()).await.unwrap();

    let mut asked = Vec::new();
    assert_eq!(stream.read_u8().await.unwrap(), b'Q');
    let length = stream.read_u32().await.unwrap() as usize - 4;
    asked.resize(length, 0);
    stream.read_exact(&mut asked).await.unwrap();
    // One column: name, table, column, type (text), size, modifier, format; then one row of it.
    let column = [&b"\0\x01v\0"[..], &[0; 6], &25_u32.to_be_bytes(), &[0xff; 6], &[0, 0]].concat();
    let row = [&[0, 1], &(version.len() as u32).to_be_bytes()[..], version.as_bytes()].concat();
    let answer = [message(b'T', &column), message(b'D', &row), message(b'C', b"SHOW\0"), ready].concat();
    stream.write_all(&answer).await.unwrap();
    // Nothing but its goodbye may follow.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty() || rest == message(b'X', b""), "{rest:?}");
    asked
}

#[tokio::test]
async fn a_server_that_is_too_old_is_asked_for_its_version_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let choice = DatabaseChoice::Shared { url: format!("postgres://me@127.0.0.1:{port}/x") };
    let (outcome, asked) = tokio::join!(db::connect(&choice, 1), old_server(listener, "90624"));
    let error = outcome.unwrap_err();
    assert!(matches!(error, DatabaseError::ServerTooOld { found: 9, needed: 13 }), "{error}");
    assert_eq!(asked, b"show server_version_num\0");
}
