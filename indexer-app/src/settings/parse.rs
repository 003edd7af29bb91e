//! From the text of a setting to its value; flags, environment and file are read alike.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use bittorrent::Transport;
use mainline::ReadOnly;

use super::{Definition, HostPort};

/// A duration such as `90s`, `5m` or `1h 30m`; a bare number is seconds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| "is not a duration such as 90s, 5m or 1h".to_owned())
}

/// A number of bytes such as `1500`, `700mib` or `2.5gb`: k, m, g, t with b are powers of 1000, with ib of 1024.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let problem = || "is not a size such as 1500, 700mib or 2.5gb".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let digits =
        lower.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(problem()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(problem);
    }
    let fraction = number.parse::<f64>().map_err(|_| problem())?;
    let bytes = (fraction * factor as f64).round();
    // Beyond it not every number of bytes has a float of its own.
    if bytes.is_finite() && bytes < (1_u64 << 53) as f64 { Ok(bytes as u64) } else { Err(problem()) }
}

pub(super) fn sized(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match parse_size(text)? {
        bytes if bytes >= least && bytes <= most => Ok(bytes),
        _ => Err(format!("is outside of {least}..{most} bytes")),
    }
}

/// `off`, or what the parser reads.
pub(super) fn or_off<T>(
    parse: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Option<T>, String> {
    move |text| match text {
        "off" => Ok(None),
        text => parse(text).map(Some),
    }
}

pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let value = parse_duration(text)?;
        if value < least || value > most {
            return Err(format!(
                "is outside of {}..{}",
                humantime::format_duration(least),
                humantime::format_duration(most)
            ));
        }
        Ok(value)
    }
}

pub(super) fn ranged<T: FromStr + PartialOrd + fmt::Display + Copy>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| match text.parse::<T>() {
        Ok(value) if value >= least && value <= most => Ok(value),
        _ => Err(format!("is not a number from {least} to {most}")),
    }
}

pub(super) fn parse_with<T: FromStr>(problem: &'static str) -> impl Fn(&str) -> Result<T, String> {
    move |text| text.parse().map_err(|_| problem.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn database_url(text: &str) -> Result<String, String> {
    text.parse::<crate::db::ServerUrl>()
        .map(|_| text.to_owned())
        .map_err(|_| "is not a PostgreSQL URL such as postgres://user:password@host/name".to_owned())
}

pub(super) fn host_port(text: &str) -> Result<HostPort, String> {
    let problem = || "is not HOST:PORT, as in router.example.org:6881".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(problem)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(problem());
    }
    Ok(HostPort { host: host.to_owned(), port })
}

pub(super) fn read_only(text: &str) -> Result<ReadOnly, String> {
    match text {
        "auto" => Ok(ReadOnly::Auto),
        "on" => Ok(ReadOnly::On),
        "off" => Ok(ReadOnly::Off),
        _ => Err("is none of auto, on, off".to_owned()),
    }
}

pub(super) fn transport(text: &str) -> Result<Transport, String> {
    let known = |transport: &Transport| transport.label().replace(' ', "-") == text;
    let problem = || "is none of tcp, encrypted-tcp, utp, encrypted-utp".to_owned();
    Transport::ALL.into_iter().find(known).ok_or_else(problem)
}

pub(super) fn split(definition: &Definition, text: &str) -> Vec<String> {
    if definition.list {
        text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    } else {
        vec![text.to_owned()]
    }
}

pub(super) fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn one_line(error: &toml::de::Error) -> String {
    let place = error.span().map_or_else(String::new, |span| format!(" at byte {}", span.start));
    format!("{}{place}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("2 kB", 2_000),
            ("1.5KiB", 1536),
            ("700mib", 700 << 20),
            ("2.5gb", 2_500_000_000),
            ("1t", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "mb", "-1", "1..2", "1 x", "1e3", "99999999999tb", "inf", "9.9e99"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
