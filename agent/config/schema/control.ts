/** The control plane, and what is taken from it. */
import * as z from 'zod'
import { isHubAddress, parseHubAddress } from '../../../control-sync/fleet/hub-address.ts'
import { CERTIFIERS } from '../../../model/fleet/enrollment.ts'
import { file, hostPort, ms } from './fields.ts'
import { overRelay } from './relay.ts'

/** Where certificates are mounted for sidecars and gateways, and where distributions keep authorities. */
const TLS_FILE_FOLDERS = [
  '/etc/meshlet/certs',
  '/etc/certs',
  '/etc/ssl',
  '/etc/pki',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
]

const oneAddress = () => z.union([hostPort(), z.string().refine((text) => parseHubAddress(text) !== undefined)])

const hub = () =>
  z.strictObject({
    /** Of the hub's API. */
    url: z.string().regex(/^https:\/\/[^\s/?#@]+\/?$/, 'must be https://HOST or https://HOST:PORT'),
    /** PEM file with the roots that the hub's certificate is checked against. */
    roots: file(),
    /** Whose CA certifies this node: the hub's, or the control plane's (an istiod), with tokens of the hub. */
    certificates: z.enum(CERTIFIERS).default('hub'),
  })

const folders = () => z.array(z.string().regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'must be an absolute path without ..'))

export const control = () =>
  z.strictObject({
    /** istiod or hub, or `wss://HOST[:PORT]`, a hub's relay; several are tried in turn. */
    address: z
      .union(
        [oneAddress().transform((a) => [a]), z.array(oneAddress()).min(1)],
        'must be HOST:PORT or wss://HOST[:PORT], or a list of them, with an IPv6 address in square brackets',
      )
      .refine(
        (all) => all.every(isHubAddress) || !all.some(isHubAddress),
        'may not name both relays (wss://) and control planes that speak gRPC',
      ),
    /** Name in the server's certificate; default: the host of the address. */
    serverName: z.string().min(1).optional(),
    /** PEM file with the roots that the control plane's certificate is checked against. */
    roots: file(),
    /**
     * File with the join token; read anew at every use, so that it may be rotated. Not needed once a certificate is
     * there.
     */
    token: file().optional(),
    /** The hub whose device this is; `meshlet join URL` writes it. */
    hub: hub().optional(),
    ...overRelay(),
    /** Life asked for; 0 = the server's default. */
    certificateTtlSec: z.number().int().nonnegative().default(0),
    /** `auto`: delta, and the state of the world from a server that does not know delta. */
    protocol: z.enum(['auto', 'delta', 'sotw']).default('auto'),
    /** Of what is sent; `gzip` only towards a server that takes it (istiod does not). */
    compression: z.enum(['none', 'gzip']).default('none'),
    /** Largest push that is taken, decompressed. */
    maxMessageBytes: z
      .number()
      .int()
      .min(65_536)
      .default(128 * 1024 * 1024),
    /** A push after a reconnect that has lost most clusters is held back this long; 0 = not at all. */
    shrinkHoldMs: z.number().int().nonnegative().default(120_000),
    /** Shortest time between two whole copies of the stored configuration; 0 = none is made. */
    snapshotCopyIntervalMs: z.number().int().nonnegative().default(3_600_000),
    /**
     * Without a control plane for longer than this, pushed inbound listeners close: a peer that was locked out
     * centrally must not come in for ever. 0 = they never do.
     */
    authorizationMaxAgeMs: z.number().int().nonnegative().default(0),
    /**
     * Ask for further roots of the mesh; only an istiod with ISTIO_MULTIROOT_MESH has them (Istio's agent:
     * PROXY_CONFIG_XDS_AGENT).
     */
    trustBundle: z.boolean().default(false),
    /** A refused resource is asked for anew after this long, then after twice as long and so on; 0 = never. */
    refusedRetryMs: z.number().int().nonnegative().default(30_000),
    refusedRetryMaxMs: ms().default(900_000),
    /**
     * Folders of this machine in which files are read that the control plane names for TLS (DestinationRule
     * `caCertificates` and the like); symbolic links may not lead out of them.
     */
    tlsFileFolders: folders().default([...TLS_FILE_FOLDERS]),
  })
