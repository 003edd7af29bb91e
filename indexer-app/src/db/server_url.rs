//! The address of a PostgreSQL server, and how far it must prove who it is.
//!
//! The driver knows `sslmode` disable, prefer and require. The rest of what libpq knows is read here: `verify-ca`, `verify-full`
//! and `sslrootcert`.

use std::{path::PathBuf, str::FromStr};

use tokio_postgres::{Config, config::SslMode};

use super::{DatabaseError, error::full_text};

/// What a server's certificate must prove, once a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: who listens on the way is kept out, who stands in the way is not (libpq's `require`).
    None,
    /// That an authority that is trusted has signed it (`verify-ca`).
    Authority,
    /// That it is of the host in the address, too (`verify-full`).
    Host,
}

/// An address.
#[derive(Clone, Debug)]
pub struct ServerUrl {
    /// What the driver understands.
    pub config: Config,
    /// What the certificate must prove.
    pub proof: Proof,
    /// The authorities that are trusted, PEM; `None`: those of the system.
    pub authorities: Option<PathBuf>,
}

impl FromStr for ServerUrl {
    type Err = DatabaseError;

    fn from_str(url: &str) -> Result<Self, DatabaseError> {
        let problem = |text: &str| DatabaseError::Url(text.to_owned());
        let (mut proof, mut authorities, mut rest) = (None, None, Vec::new());
        let (base, query) = match url.split_once('?') {
            Some((base, query)) if url.starts_with("postgres") => (base, query),
            _ => (url, ""),
        };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("sslmode", "verify-ca")) => proof = Some(Proof::Authority),
                Some(("sslmode", "verify-full")) => proof = Some(Proof::Host),
                Some(("sslrootcert", "system")) => authorities = None,
                Some(("sslrootcert", path)) => {
                    let path = decoded(path).ok_or_else(|| problem("sslrootcert is no path"))?;
                    authorities = Some(PathBuf::from(path));
                }
                _ => rest.push(part),
            }
        }
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = plain.parse().map_err(|error| DatabaseError::Url(full_text(&error)))?;
        if proof.is_some() {
            config.ssl_mode(SslMode::Require);
        }
        // Who names authorities wants them to be asked, as with libpq.
        let asked = authorities.is_some() && config.get_ssl_mode() == SslMode::Require;
        let proof = proof.unwrap_or(if asked { Proof::Authority } else { Proof::None });
        Ok(Self { config, proof, authorities })
    }
}

/// Text with `%2F` and the like undone.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> (SslMode, Proof, Option<PathBuf>) {
        let url: ServerUrl = format!("postgres://me:secret@db.example/x{query}").parse().unwrap();
        assert_eq!(url.config.get_dbname(), Some("x"));
        (url.config.get_ssl_mode(), url.proof, url.authorities)
    }

    #[test]
    fn every_sslmode_asks_for_what_it_asks_of_libpq() {
        assert_eq!(parsed(""), (SslMode::Prefer, Proof::None, None));
        assert_eq!(parsed("?sslmode=disable"), (SslMode::Disable, Proof::None, None));
        assert_eq!(parsed("?connect_timeout=3&sslmode=require"), (SslMode::Require, Proof::None, None));
        assert_eq!(parsed("?sslmode=verify-ca"), (SslMode::Require, Proof::Authority, None));
        assert_eq!(parsed("?sslmode=verify-full&sslrootcert=system"), (SslMode::Require, Proof::Host, None));
        let path = Some(PathBuf::from("/a b/root.pem"));
        assert_eq!(
            parsed("?sslrootcert=/a%20b%2Froot.pem&sslmode=require"),
            (SslMode::Require, Proof::Authority, path)
        );
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        for odd in ["nonsense", "postgres://h/x?sslmode=perhaps", "postgres://h/x?sslrootcert=%zz"] {
            assert!(matches!(odd.parse::<ServerUrl>(), Err(DatabaseError::Url(_))), "{odd}");
        }
    }
}
