//! An operator's own certificate authorities, for the servers in their own network.
//!
//! They are trusted in addition to those that the machine trusts, since a deployment has MCP servers on the internet
//! too. AWS is recognized by others ([`crate::lambda`]): no authority of this bundle can vouch for the table.

use std::{fs::File, io::Read, sync::Arc};

use deputize_core::error::{Cause, because};
use reqwest::{Certificate, ClientBuilder};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The longest bundle that is read, in bytes. All of the web's authorities take a quarter of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// Certificate authorities. The default has none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Arc<[Certificate]>);

impl Authorities {
    /// Reads a file of PEM certificates. Fails if there is none in it, or one that is none.
    pub fn read(path: &str) -> Result<Self, Cause> {
        let mut pem = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut pem)?;
        if pem.len() as u64 > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes").into());
        }
        Self::of_pem(&pem)
    }

    /// The certificates in a text.
    pub fn of_pem(pem: &[u8]) -> Result<Self, Cause> {
        // A client would say only at its first connection that a certificate is none.
        parse(pem)?;
        Ok(Self(Certificate::from_pem_bundle(pem)?.into()))
    }

    /// A client that trusts these too.
    pub(crate) fn trusted_by(&self, client: ClientBuilder) -> ClientBuilder {
        if self.0.is_empty() { client } else { client.tls_certs_merge(self.0.iter().cloned()) }
    }
}

/// The authorities in a text. Fails if there is none.
pub(crate) fn parse(pem: &[u8]) -> Result<RootCertStore, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| because("it is not in PEM, or cut short", error))?;
        roots.add(certificate).map_err(|error| because("one of its certificates is none", error))?;
    }
    if roots.is_empty() { Err("there is no certificate in it".into()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_in_which_nothing_can_be_trusted_is_refused() {
        let why = |pem: &str| Authorities::of_pem(pem.as_bytes()).unwrap_err();
        insta::assert_snapshot!(why(""), @"there is no certificate in it");
        insta::assert_snapshot!(why("-----BEGIN CERTIFICATE-----\nMIIB\n"), @"it is not in PEM, or cut short");
        insta::assert_snapshot!(why("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), @"one of its certificates is none");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_has_no_end_is_refused() {
        let missing = Authorities::read("/nowhere/bundle.pem").unwrap_err();
        insta::assert_snapshot!(missing, @"No such file or directory (os error 2)");
        let endless = Authorities::read("/dev/zero").unwrap_err();
        insta::assert_snapshot!(endless, @"it is longer than 1048576 bytes");
    }
}
