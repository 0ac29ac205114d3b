//! Which pairs are served, and which one after the files have changed.

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the file can be written");
    }

    fn put_pair(&self) {
        let CertifiedKey { cert, signing_key } = pair();
        self.put("cert", &cert.pem());
        self.put("key", &signing_key.serialize_pem());
    }

    fn open(&self) -> Result<Tls, TlsError> {
        Tls::open(&self.path("cert"), &self.path("key"))
    }
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made")
}

#[test]
fn what_is_no_pair_is_told_by_the_file() {
    let folder = Folder::new();
    let told = || folder.open().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told().contains("cert: No such file"), "{}", told());
    folder.put_pair();
    assert_eq!(told(), "");
    folder.put("key", "nonsense");
    assert!(told().ends_with("key holds no private key in PEM"), "{}", told());
    folder.put("key", &pair().signing_key.serialize_pem());
    assert!(told().contains("are no pair that can be served"), "{}", told());
    folder.put_pair();
    folder.put("cert", "");
    assert!(told().ends_with("cert holds no certificate in PEM"), "{}", told());
}

#[test]
fn a_changed_pair_is_taken_up_and_a_bad_one_once_refused() {
    let folder = Folder::new();
    folder.put_pair();
    let tls = folder.open().expect("it is a pair");
    assert!(!tls.look().expect("nothing changed"));
    folder.put_pair();
    assert!(tls.look().expect("it is a pair"));
    assert!(!tls.look().expect("nothing changed"));
    // A renewal writes one file after the other.
    let renewed = pair();
    folder.put("cert", &renewed.cert.pem());
    assert!(tls.look().is_err());
    assert!(!tls.look().expect("the same files are told once"));
    folder.put("key", &renewed.signing_key.serialize_pem());
    assert!(tls.look().expect("now it is a pair"));
    std::fs::remove_file(folder.path("key")).expect("it is there");
    assert!(tls.look().is_err());
    folder.put("key", &renewed.signing_key.serialize_pem());
    assert!(!tls.look().expect("it is the pair that is served"));
}
