/** A token, and the claim of a device that came with it. */
export const SPIFFE = 'spiffe://demo.mesh/ns/edge/sa/gateway'
export const token = {
  jti: 'j1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  createdMs: 1,
  expiresMs: 1_000,
  maxUses: null,
  nodes: '*',
}
export const claim = {
  name: 'edge',
  nodeId: 'sidecar~10.0.0.1~edge.edge~edge.svc',
  spiffeUri: SPIFFE,
  ip: '10.0.0.1',
  holder: 'key-1',
  jti: 'j1',
  nowMs: 10,
}
