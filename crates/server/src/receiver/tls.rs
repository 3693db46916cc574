//! TLS of a receiver: its certificate, whose certificates it demands, and what they say.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::Text;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;

use crate::http::{TlsError, TlsFiles, authorities};

/// What a receiver shakes hands with; `None` without a certificate.
pub fn config(
    files: Option<&TlsFiles>,
    client_ca_file: Option<&Path>,
) -> Result<Option<Arc<rustls::ServerConfig>>, TlsError> {
    let Some(files) = files else { return Ok(None) };
    let (certificates, key) = files.read()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&files.certificate, error.to_string()))?;
    let builder = match client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| TlsError::new(path, error.to_string()))?,
            )
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        TlsError::new(&files.key, format!("does not fit the certificate: {error}"))
    })?;
    // Senders read nothing. rsyslog looks whether there is something to read to learn that we have closed;
    // with a ticket in the way it never does, and what it sends next is lost.
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

/// The first name of a certificate: of its subject alternative names, a DNS name.
pub fn name(certificate: &CertificateDer<'_>) -> Option<Text> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_dns_names();
    names.next().map(Text::from)
}
