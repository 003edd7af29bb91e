//! Profiles: what suits a line and a machine, under one name.

use std::{fmt, str::FromStr};

/// What the line and the machine can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A line behind a home router: 0.4 Mbit/s upwards. Where an idle UDP mapping lasts two minutes (RFC 4787), 1,200
    /// new endpoints a minute are 2,400 entries in the router's table; the connections of 100 fetches add up to 400.
    Home,
    /// A small server with an address of its own: 3 Mbit/s, and some hundred megabytes for tables.
    Vps,
    /// A server whose only task this is: 32 Mbit/s, and a gigabyte or two for tables.
    Server,
}

impl Profile {
    /// All of them, the most modest first.
    pub const ALL: [Self; 3] = [Self::Home, Self::Vps, Self::Server];

    /// The name, as it is set.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Vps => "vps",
            Self::Server => "server",
        }
    }

    /// The settings that it sets where nobody has chosen them.
    pub const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Home => &[
                ("packets-per-second", "150"),
                ("bytes-per-second", "50000"),
                ("endpoints-per-minute", "1200"),
                ("utp-packets-per-second", "100"),
                ("connects-per-minute", "600"),
                ("fetches", "100"),
                ("backlog-max", "1000000"),
                ("contacts-max", "400000"),
            ],
            Self::Vps => &[
                ("packets-per-second", "1000"),
                ("bytes-per-second", "400000"),
                ("endpoints-per-minute", "20000"),
                ("utp-packets-per-second", "1000"),
                ("connects-per-minute", "6000"),
                ("fetches", "400"),
                ("backlog-max", "3000000"),
                ("contacts-max", "1000000"),
            ],
            Self::Server => &[
                ("packets-per-second", "10000"),
                ("bytes-per-second", "4000000"),
                ("endpoints-per-minute", "200000"),
                ("utp-packets-per-second", "10000"),
                ("connects-per-minute", "60000"),
                ("fetches", "2000"),
                ("backlog-max", "10000000"),
                ("contacts-max", "4000000"),
            ],
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| "is none of home, vps, server".to_owned())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Budgets of a program that speaks to its own machine alone. Each remote is still asked once a second at most.
pub const LOOPBACK_BUDGETS: &[(&str, &str)] = &[
    ("packets-per-second", "4000"),
    ("bytes-per-second", "4000000"),
    ("endpoints-per-minute", "1000000"),
    ("utp-packets-per-second", "20000"),
    ("connects-per-minute", "1000000"),
    ("fetches", "400"),
];
