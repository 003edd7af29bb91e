//! The least that a client has to do: connect, ask for everything at once, read, hash.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use sha1::{Digest as _, Sha1};

use crate::{
    info::{Info, PIECE_BYTES},
    seeders::{Seeders, ip},
};

/// Fetches so many times, each from an address of its own; `at_once` connections are begun before the first is read.
pub(crate) fn fetch(seeders: &Seeders, info: &Info, fetches: u32, at_once: u32) -> io::Result<()> {
    let asked = info.everything_asked();
    let answer_bytes = info.hello.len() + info.pieces.iter().map(Vec::len).sum::<usize>();
    // Before each payload there is the same.
    let header_bytes = info.pieces[0].len() - PIECE_BYTES;
    let mut answer = vec![0; answer_bytes];
    let mut streams = Vec::new();
    for group in 0..fetches / at_once {
        for number in 0..at_once {
            let mut stream = TcpStream::connect((ip(group * at_once + number), seeders.port))?;
            stream.set_nodelay(true)?;
            stream.write_all(&asked)?;
            streams.push(stream);
        }
        for mut stream in streams.drain(..) {
            stream.read_exact(&mut answer)?;
            let mut sha1 = Sha1::new();
            let mut rest = &answer[info.hello.len()..];
            for piece in &info.pieces {
                let (message, others) = rest.split_at(piece.len());
                rest = others;
                sha1.update(&message[header_bytes..]);
            }
            if sha1.finalize()[..] != info.hash.as_bytes()[..] {
                return Err(io::Error::other("the floor has fetched something else"));
            }
        }
    }
    Ok(())
}
