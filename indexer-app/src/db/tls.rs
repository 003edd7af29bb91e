//! Encrypted connections to a server, and what its certificate must prove.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    DatabaseError,
    server_url::{Proof, ServerUrl},
};

/// How connections to one server are encrypted, if they are.
#[derive(Clone)]
pub(super) struct Tls(pub(super) Option<MakeRustlsConnect>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", if self.0.is_some() { "on" } else { "off" })
    }
}

impl Tls {
    /// For servers on this machine that are reached by a socket.
    pub(super) const OFF: Self = Self(None);

    /// As an address asks.
    ///
    /// # Errors
    /// The authorities that are to be trusted cannot be read.
    pub(super) fn of(url: &ServerUrl) -> Result<Self, DatabaseError> {
        if url.config.get_ssl_mode() == SslMode::Disable {
            return Ok(Self::OFF);
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(url.proof, url.authorities.as_deref(), &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| DatabaseError::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Some(MakeRustlsConnect::new(config))))
    }
}

/// Holds a certificate against what is asked of it.
#[derive(Debug)]
struct Verifier {
    proof: Proof,
    /// `None`: nobody has to be asked.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that were handed over as trusted: a server may have one of them itself, which no authority signs.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(proof: Proof, path: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Self, DatabaseError> {
        let (mut trusted, mut authorities) = (Vec::new(), None);
        if proof != Proof::None {
            let mut roots = RootCertStore::empty();
            let whose = match path {
                Some(path) => {
                    let unreadable = |error| DatabaseError::Tls(format!("{}: {error}", path.display()));
                    trusted = CertificateDer::pem_file_iter(path)
                        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                        .map_err(|error| unreadable(error.to_string()))?;
                    roots.add_parsable_certificates(trusted.iter().cloned());
                    path.display().to_string()
                }
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                    "the system".to_owned()
                }
            };
            if roots.is_empty() {
                return Err(DatabaseError::Tls(format!("{whose} has none")));
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| DatabaseError::Tls(error.to_string()))?;
            authorities = Some(verifier);
        }
        Ok(Self { proof, authorities, trusted, provider: provider.clone() })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        if self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref()) {
            if self.proof == Proof::Host {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Authorities are asked before names.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.proof == Proof::Authority => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
