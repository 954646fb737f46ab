/** Istio's metadata exchange over HTTP: an id, and a google.protobuf.Struct in base64. */
export const PEER_METADATA = 'x-envoy-peer-metadata'
export const PEER_METADATA_ID = 'x-envoy-peer-metadata-id'

/** Said by proxies to each other: neither an application nor a client gets them, and what they say themselves is dropped. */
export function isExchangeHeader(name: string): boolean {
  return name === PEER_METADATA || name === PEER_METADATA_ID
}
