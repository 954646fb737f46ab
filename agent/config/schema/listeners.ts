/** Ports that agent.yaml itself opens. */
import * as z from 'zod'
import { createMqttListenerSchema, createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import { parseRange } from '../../../model/ip.ts'
import { isCipherList } from '../../../protocols/tls/cipher-list.ts'
import { file, port } from './fields.ts'

const ipRange = () =>
  z.string().refine((text) => parseRange(text) !== undefined, 'is no address and no range such as 10.0.0.0/8')

/** The kernel's longest path (unix(7)). */
const MAX_PATH_BYTES = 107
const unixSocket = () =>
  z.strictObject({
    path: z.string().startsWith('/').max(MAX_PATH_BYTES),
    /** Who may connect has write permission. */
    mode: z
      .string()
      .regex(/^0?[0-7]{3}$/, 'is a mode in octal digits, in quotation marks: "0660"')
      .default('0660'),
  })
type Place = {
  readonly address: string
  readonly port?: number | undefined
  readonly unix?: { readonly path: string } | undefined
}
/** Where a listener is: the path of a Unix socket has no port. */
export function toListenAddress({ address, port: at, unix }: Place): {
  readonly address: string
  readonly port: number
} {
  return unix ? { address: unix.path, port: 0 } : { address, port: at ?? 0 }
}

const listenerTls = () =>
  z.discriminatedUnion('mode', [
    /** The mesh identity; clients must show a certificate of the mesh. */
    z.strictObject({ mode: z.literal('mutual') }),
    /** A server certificate of its own; clients need none unless `clientRoots` is given. */
    z.strictObject({
      mode: z.literal('server'),
      chain: file(),
      key: file(),
      clientRoots: file().optional(),
      /** Of the authorities in `clientRoots`, one of each: whom they have revoked does not come in. */
      clientCrl: file().optional(),
      /** With `clientRoots`: false = clients may come without a certificate, never with a wrong one. */
      requireClientCertificate: z.boolean().default(true),
      minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
      /** Of TLS 1.2, as OpenSSL's list. */
      ciphers: z.string().min(1).max(4096).refine(isCipherList, 'is no list of ciphers that OpenSSL knows').optional(),
    }),
  ])
const mqttTls = () =>
  z.discriminatedUnion('mode', [
    ...listenerTls().options,
    /** Keys of `mqtt.users.pskFile`, and no certificate. */
    z.strictObject({ mode: z.literal('psk'), hint: z.string().max(128).default('meshlet') }),
  ])
const listenerBase = () => ({
  name: z.string().min(1).max(128),
  address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
  port: port(),
  /** `::` takes IPv4 clients, too (Envoy's ipv4_compat). */
  ipv4Compat: z.boolean().optional(),
  /** Connections come from load balancers at these addresses and begin with a PROXY header. */
  proxyProtocol: z
    .strictObject({
      trusted: z.array(ipRange()).min(1).max(64),
      /** As mosquitto's use_identity_as_username behind a proxy. */
      clientCertificate: z.boolean().default(false),
      /** As mosquitto's enable_proxy_protocol_v2_require_tls. */
      requireTls: z.boolean().default(false),
    })
    .optional(),
  /** Plain text without rules on an address that others reach is intended, and not reported. */
  acceptAnyone: z.boolean().optional(),
})
/** Settings of `mqtt` that are different for this listener. */
const mqttOfListener = () => {
  const { allowedOrigins, aclFile, limits } = createMqttPolicySchema().shape
  const { maxPacketBytes, maxKeepAliveSec } = limits.unwrap().shape
  return createMqttListenerSchema().extend({
    aclFile,
    allowedOrigins: allowedOrigins.unwrap().optional(),
    maxPacketBytes: maxPacketBytes.unwrap().optional(),
    maxKeepAliveSec: maxKeepAliveSec.unwrap().optional(),
  })
}
const anyListener = () =>
  z.discriminatedUnion('kind', [
    /**
     * Explicit outbound proxy (http_proxy=…): absolute-form requests, CONNECT, or a Host header; `routes` names a route
     * configuration.
     */
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('http_proxy'),
      routes: z.string().min(1).default('http_proxy'),
    }),
    /** An HTTP port whose requests are routed by the named route configuration. */
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('http'),
      routes: z.string().min(1),
      tls: listenerTls().optional(),
    }),
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('tcp'),
      cluster: z.string().min(1),
      tls: listenerTls().optional(),
    }),
    /** Tunnels of peers of the mesh to ports of this node (HBONE), over mutual TLS with the mesh identity. */
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('hbone'),
      address: z.union([z.ipv4(), z.ipv6()]).default('0.0.0.0'),
      port: port().default(15008),
    }),
    z.strictObject({
      ...listenerBase(),
      kind: z.literal('mqtt'),
      /** One of the two is needed. */
      port: port().optional(),
      unix: unixSocket().optional(),
      /** `auto`: whichever a client begins with. */
      transport: z.enum(['tcp', 'websocket', 'auto']).default('tcp'),
      tls: mqttTls().optional(),
      mqtt: mqttOfListener().optional(),
      /** `transparent`: each client is proxied to the broker of `cluster`, where its session is. */
      mode: z.enum(['engine', 'transparent']).default('engine'),
      cluster: z.string().min(1).optional(),
      /** Of `transparent`, with `mqtt.users`: the broker gets user name and password as the client said them. */
      forwardCredentials: z.boolean().optional(),
      /** Of `transparent`: connections to the broker begin with a PROXY header of this version, which names the client. */
      sendProxyProtocol: z.literal([1, 2]).optional(),
      /** With `tls`: clients without it come in, too. */
      plainText: z.boolean().optional(),
    }),
  ])
type MqttMode = {
  readonly mode: string
  readonly cluster?: string | undefined
  readonly forwardCredentials?: boolean | undefined
  readonly sendProxyProtocol?: number | undefined
}
function refuseModeContradictions(l: MqttMode, ctx: z.RefinementCtx): void {
  const refuse = (name: string, message: string): void => ctx.addIssue({ code: 'custom', path: [name], message })
  if (l.mode === 'transparent') {
    if (l.cluster === undefined) refuse('cluster', 'is needed with mode `transparent`: where is the broker?')
    return
  }
  const why = 'is of mode `transparent`: say `mode: transparent`, or leave it out'
  for (const name of ['cluster', 'forwardCredentials', 'sendProxyProtocol'] as const)
    if (l[name] !== undefined) refuse(name, why)
}
export const listener = () =>
  anyListener().superRefine((l, ctx) => {
    const tls = 'tls' in l ? l.tls : undefined
    if (tls?.mode === 'server' && tls.clientCrl !== undefined && tls.clientRoots === undefined)
      ctx.addIssue({ code: 'custom', path: ['tls', 'clientCrl'], message: 'is about certificates of `clientRoots`' })
    if (l.kind === 'mqtt') refuseModeContradictions(l, ctx)
    if (l.kind !== 'mqtt' || (l.port === undefined) !== (l.unix === undefined)) return
    const message = l.unix ? 'stands beside unix: write two listeners' : 'is needed, or unix'
    ctx.addIssue({ code: 'custom', path: ['port'], message })
  })
