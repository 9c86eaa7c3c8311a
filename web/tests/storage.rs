//! The identity that is kept in IndexedDB, as the package's script keeps it.
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

async fn stored() -> Result<Vec<u8>, JsValue> {
    let create = Closure::<dyn FnMut() -> Uint8Array>::new(|| {
        Uint8Array::from(new_identity().expect("there is randomness").as_slice())
    });
    let identity = JsFuture::from(stored_identity(create.as_ref().unchecked_ref())).await?;
    Ok(identity.unchecked_into::<Uint8Array>().to_vec())
}

#[wasm_bindgen_test]
async fn it_is_made_once_and_stays() {
    let (one, other) = futures::future::join(stored(), stored()).await;
    let first = one.expect("there is IndexedDB");
    assert_eq!(other.expect("there is IndexedDB"), first, "who comes at the same time gets the same");
    assert_eq!(stored().await.expect("there is IndexedDB"), first);
    assert!(libp2p::identity::Keypair::from_protobuf_encoding(&first).is_ok());
}

#[wasm_bindgen_test]
async fn without_indexed_db_it_is_an_error_with_a_code() {
    let global = js_sys::global();
    let database = Reflect::get(&global, &"indexedDB".into()).expect("it can be read");
    let hide = |value: &JsValue| {
        let property = Object::new();
        Reflect::set(&property, &"value".into(), value).expect("an object takes any property");
        Reflect::set(&property, &"configurable".into(), &true.into()).expect("an object takes any property");
        Reflect::define_property(&global, &"indexedDB".into(), &property).expect("it can be hidden");
    };
    hide(&JsValue::UNDEFINED);
    let error = stored().await.expect_err("there is none");
    hide(&database);
    assert!(error.is_instance_of::<js_sys::Error>());
    assert_eq!(Reflect::get(&error, &"code".into()).expect("it has one"), JsValue::from("storage"));
    assert!(stored().await.is_ok());
}
