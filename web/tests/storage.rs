//! The identity in IndexedDB, as the package's script keeps it.
#![cfg(target_arch = "wasm32")]

use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use opp2p_web::new_identity;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(module = "/js/identity.js")]
extern "C" {
    #[wasm_bindgen(js_name = storedIdentity)]
    fn stored_identity(create: &Function) -> Promise;
}

/// An identity of this origin, and the function that gives it back.
struct Stored {
    identity: Vec<u8>,
    release: Function,
}

impl Stored {
    fn give_back(self) -> Vec<u8> {
        self.release.call0(&JsValue::NULL).expect("it is given back");
        self.identity
    }
}

async fn stored() -> Result<Stored, JsValue> {
    let create = Closure::<dyn FnMut() -> Uint8Array>::new(|| {
        Uint8Array::from(new_identity().expect("there is randomness").as_slice())
    });
    let held = JsFuture::from(stored_identity(create.as_ref().unchecked_ref())).await?;
    let part = |name: &str| Reflect::get(&held, &name.into());
    Ok(Stored {
        identity: part("identity")?.unchecked_into::<Uint8Array>().to_vec(),
        release: part("release")?.unchecked_into(),
    })
}

#[wasm_bindgen_test]
async fn each_node_has_its_own_lasting_identity() {
    let (one, other) = futures::future::join(stored(), stored()).await;
    let (one, other) = (one.expect("there is IndexedDB"), other.expect("there is IndexedDB"));
    assert_ne!(one.identity, other.identity, "two nodes at the same time");
    let both = [one.give_back(), other.give_back()];
    // The lock is free as soon as the browser has handled its end.
    let again = stored().await.expect("there is IndexedDB").give_back();
    assert!(both.contains(&again));
    assert!(libp2p::identity::Keypair::from_protobuf_encoding(&again).is_ok());
}

#[wasm_bindgen_test]
async fn without_indexed_db_storage_fails_with_a_code() {
    let global = js_sys::global();
    let database = Reflect::get(&global, &"indexedDB".into()).expect("it can be read");
    let hide = |value: &JsValue| {
        let property = Object::new();
        Reflect::set(&property, &"value".into(), value).expect("an object takes any property");
        Reflect::set(&property, &"configurable".into(), &true.into())
            .expect("an object takes any property");
        Reflect::define_property(&global, &"indexedDB".into(), &property)
            .expect("it can be hidden");
    };
    hide(&JsValue::UNDEFINED);
    let error = stored().await.map(Stored::give_back).expect_err("there is none");
    hide(&database);
    assert!(error.is_instance_of::<js_sys::Error>());
    assert_eq!(Reflect::get(&error, &"code".into()).expect("it has one"), JsValue::from("storage"));
    assert!(stored().await.map(Stored::give_back).is_ok());
}
