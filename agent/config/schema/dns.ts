/**
 * Serves the mesh's names, and passes others on, to clients that know services by name: TCP, and everything in
 * transparent capture.
 */
import * as z from 'zod'
import { bytes, file, ms, port } from './fields.ts'

const domainName = () =>
  z
    .string()
    .regex(/^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?$/, 'must be a domain name')
    .transform((d) => d.toLowerCase().replace(/\.$/, ''))
/** An address and no name, because there is nobody to resolve it. */
const resolver = () =>
  z.string().transform((text, ctx) => {
    const [, bracketed, plain, portText] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text) ?? []
    const host = bracketed ?? plain ?? text
    const address = { host, port: Number(portText ?? 53) }
    if (z.union([z.ipv4(), z.ipv6()]).safeParse(host).success && address.port > 0 && address.port <= 65_535)
      return address
    ctx.addIssue({ code: 'custom', message: 'must be an IP address, with a port like 10.0.0.1:53 or [fd00::1]:53' })
    return z.NEVER
  })

export const dns = () =>
  z.strictObject({
    address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    port: port().default(15_053),
    /** Resolvers for names that are not the mesh's; [] = there are no others. Default: those of `resolvConf`. */
    upstreams: z.array(resolver()).max(8).optional(),
    /** Read every few seconds, because it changes with the uplink. */
    resolvConf: file().default('/etc/resolv.conf'),
    /** Domains that clients' resolvers put behind names. Default: those of `resolvConf`. */
    search: z.array(domainName()).max(8).optional(),
    /**
     * How long all names wait for the first name table. After it only names that cannot be the mesh's are asked for
     * upstream.
     */
    firstTableMs: z.number().int().nonnegative().max(86_400_000).default(15_000),
    attemptMs: ms().max(30_000).default(2_000),
    /** Names that are asked for upstream at the same time. */
    maxInFlight: z.number().int().min(1).max(4_096).default(256),
    maxCacheEntries: z.number().int().nonnegative().max(1_000_000).default(4_096),
    maxCacheBytes: z
      .number()
      .int()
      .nonnegative()
      .default(2 * 1024 * 1024),
    /** RFC 8767 §4 and RFC 2308 §5 give the upper bounds. */
    maxTtlSec: z.number().int().nonnegative().max(604_800).default(86_400),
    maxNegativeTtlSec: z.number().int().nonnegative().max(10_800).default(900),
    /** How long an expired answer may still be given when no resolver answers; 0 = never. */
    maxStaleSec: z.number().int().nonnegative().max(2_592_000).default(259_200),
    /** Answers are kept on disk for a start without an uplink: written at most so often, and at the end; 0 = never. */
    storeEveryMs: z.number().int().nonnegative().max(86_400_000).default(3_600_000),
    maxStoredBytes: bytes().default(128 * 1024),
    maxTcpConnections: z.number().int().positive().max(10_000).default(128),
    tcpIdleMs: ms().default(10_000),
  })
