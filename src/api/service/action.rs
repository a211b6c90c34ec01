//! `model_express.api`: named actions with JSON in and out.

use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::api::wire::api::api_service_server::ApiService;
use crate::api::wire::api::{ApiRequest, ApiResponse};

pub struct Actions;

/// What an action answers, or why it does not.
fn act(action: &str) -> Result<Value, String> {
    match action {
        "ping" => Ok(json!({ "message": "pong" })),
        other => Err(format!("unknown action `{other}`; this server knows: ping")),
    }
}

#[tonic::async_trait]
impl ApiService for Actions {
    async fn send_request(&self, request: Request<ApiRequest>) -> Result<Response<ApiResponse>, Status> {
        let ApiRequest { action, payload, .. } = request.into_inner();
        // Also of an action that needs none: it was meant to say something.
        let read = payload.filter(|bytes| !bytes.is_empty()).map(|bytes| serde_json::from_slice::<Value>(&bytes));
        let answer = match read {
            Some(Err(cause)) => Err(format!("the payload is no JSON: {cause}")),
            _ => act(&action),
        };
        Ok(Response::new(match answer {
            Ok(data) => ApiResponse { success: true, data: Some(data.to_string().into_bytes()), error: None },
            Err(error) => ApiResponse { success: false, data: None, error: Some(error) },
        }))
    }
}
