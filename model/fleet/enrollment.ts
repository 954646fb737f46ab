/**
 * What a device and its hub say to each other over HTTPS. A request is one compact JWS by the device's key, whose
 * header carries the key and whose payload is bound to the TLS connection that it comes over (RFC 9266), so that what
 * somebody has recorded is good for nothing.
 */

export const PROOF_TYPE = 'meshlet-device+jwt'
/** RFC 9266 §2. */
export const CHANNEL_BINDING = { label: 'EXPORTER-Channel-Binding', bytes: 32 } as const
export const JOIN_PATH = '/v1/devices/join'
export const RENEW_PATH = '/v1/devices/renew'
/** Of the value that a renewal repeats, and of its nonce. */
export const MAX_CHAIN_CHARS = 64
/** Of what the hub answers. */
export const MAX_ANSWER_BYTES = 256 * 1024
/** In place of an address: the relay at the port that the device joined over. */
export const OWN_RELAY = 'wss://'

/** Whose CA certifies the device: the hub's, or that of its control plane (an istiod), to which the hub's tokens open. */
export const CERTIFIERS = ['hub', 'control-plane'] as const
export type Certifier = (typeof CERTIFIERS)[number]

/** Where the device has its configuration from. */
export type ControlSettings = {
  /** HOST:PORT; without a host, that of the hub's URL. */
  readonly address: string
  readonly rootsPem: string
  /** In the control plane's certificate; undefined: the host of its address. */
  readonly serverName?: string | undefined
  /** Undefined: `hub`. */
  readonly certificates?: Certifier | undefined
}
/** A JWT for the control plane's CA. */
export type ControlToken = { readonly token: string; readonly ttlSec: number }
/** What was asked for, certificate or token, and what the next renewal must repeat. */
export type Renewed = {
  /** Leaf, intermediates, root last, PEM. */
  readonly certChain: readonly string[]
  readonly counter: number
  readonly chain: string
  readonly control?: ControlToken
  /** What the hub's own certificate is checked against from now on. */
  readonly hubRootsPem?: string
}
export type Joined = {
  readonly state: 'active' | 'pending'
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly trustDomain: string
  /** What the hub's own certificate is checked against. */
  readonly hubRootsPem: string
  readonly control: ControlSettings
  /** Of a device that is let in. */
  readonly renewed?: Renewed
}
