/** DestinationRule (networking.istio.io): how a destination is reached: subsets, balancing, pools, TLS. */
import * as z from 'zod'
import {
  anyDuration,
  count,
  dnsLabel,
  duration,
  exportTo,
  labels,
  matchLabels,
  name,
  port,
  portSelector,
  refuse,
  text,
} from './fields.ts'

export const connectionPool = z
  .strictObject({
    tcp: z
      .strictObject({
        maxConnections: count.optional(),
        connectTimeout: duration.optional(),
        maxConnectionDuration: duration.optional(),
        idleTimeout: anyDuration.optional(),
        tcpKeepalive: z
          .strictObject({ probes: count.optional(), time: duration.optional(), interval: duration.optional() })
          .optional(),
      })
      .optional(),
    http: z
      .strictObject({
        http1MaxPendingRequests: count.optional(),
        http2MaxRequests: count.optional(),
        maxRequestsPerConnection: count.optional(),
        maxRetries: count.optional(),
        idleTimeout: duration.optional(),
        h2UpgradePolicy: z.enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE']).optional(),
        useClientProtocol: z.boolean().optional(),
        maxConcurrentStreams: count.optional(),
      })
      .refine((h) => !(h.useClientProtocol === true && h.h2UpgradePolicy === 'UPGRADE'), {
        path: ['useClientProtocol'],
        error: 'cannot stand beside h2UpgradePolicy UPGRADE',
      })
      .optional(),
  })
  .refine((pool) => pool.tcp ?? pool.http, 'must have tcp or http')

const warmup = z.strictObject({
  duration,
  minimumPercent: z.number().min(0).max(100).optional(),
  aggression: z.number().min(1).optional(),
})

const consistentHash = z
  .strictObject({
    httpHeaderName: name.optional(),
    httpCookie: z
      .strictObject({
        name,
        path: text.optional(),
        ttl: anyDuration.optional(),
        attributes: z.array(z.strictObject({ name, value: text.optional() })).optional(),
      })
      .optional(),
    useSourceIp: z.boolean().optional(),
    httpQueryParameterName: name.optional(),
    ringHash: z.strictObject({ minimumRingSize: count.optional() }).optional(),
    maglev: z.strictObject({ tableSize: count.refine(isTableSize, 'must be a prime below 5000011') }).optional(),
    minimumRingSize: count.optional(),
  })
  .refine(
    (h) =>
      [h.httpHeaderName, h.httpCookie, h.useSourceIp, h.httpQueryParameterName].filter((key) => key !== undefined)
        .length === 1,
    'must have one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName',
  )
  .refine((h) => !(h.ringHash && h.maglev), 'cannot have both ringHash and maglev')
  .refine((h) => !(h.minimumRingSize && (h.ringHash ?? h.maglev)), {
    path: ['minimumRingSize'],
    error: 'cannot stand beside ringHash or maglev',
  })

function isTableSize(size: number): boolean {
  if (size < 2 || size >= 5_000_011) return false
  for (let divisor = 2; divisor * divisor <= size; divisor++) if (size % divisor === 0) return false
  return true
}

const localityLbSetting = z
  .strictObject({
    enabled: z.boolean().optional(),
    distribute: z.array(z.strictObject({ from: text, to: z.record(z.string(), count) })).optional(),
    failover: z.array(z.strictObject({ from: text, to: text })).optional(),
    failoverPriority: z.array(text).optional(),
  })
  .refine((l) => !(l.distribute && (l.failover || l.failoverPriority)), 'cannot have both distribute and failover')

const loadBalancer = z
  .strictObject({
    simple: z.enum(['UNSPECIFIED', 'LEAST_CONN', 'LEAST_REQUEST', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN']).optional(),
    consistentHash: consistentHash.optional(),
    localityLbSetting: localityLbSetting.optional(),
    warmup: warmup.optional(),
    warmupDurationSecs: duration.optional(),
  })
  .refine((l) => !(l.simple && l.consistentHash), 'cannot have both simple and consistentHash')
  .refine((l) => !(l.warmup && l.warmupDurationSecs), 'cannot have both warmup and warmupDurationSecs')

const outlierDetection = z
  .strictObject({
    consecutive5xxErrors: count.optional(),
    consecutiveGatewayErrors: count.optional(),
    splitExternalLocalOriginErrors: z.boolean().optional(),
    consecutiveLocalOriginFailures: count.optional(),
    interval: duration.optional(),
    baseEjectionTime: duration.optional(),
    maxEjectionPercent: z.int().min(0).max(100).optional(),
    minHealthPercent: z.int().min(0).max(100).optional(),
  })
  .refine((o) => o.splitExternalLocalOriginErrors === true || !o.consecutiveLocalOriginFailures, {
    path: ['consecutiveLocalOriginFailures'],
    error: 'needs splitExternalLocalOriginErrors',
  })

const tls = z
  .strictObject({
    mode: z.enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']).optional(),
    clientCertificate: text.optional(),
    privateKey: text.optional(),
    caCertificates: text.optional(),
    credentialName: refuse('a Secret of Kubernetes; name files of the device instead'),
    subjectAltNames: z.array(text).optional(),
    sni: text.optional(),
    insecureSkipVerify: z.boolean().optional(),
    caCrl: text.optional(),
  })
  .superRefine((t, found) => {
    if (t.mode !== 'MUTUAL') return
    for (const field of ['clientCertificate', 'privateKey'] as const)
      if (!t[field]) found.addIssue({ code: 'custom', path: [field], message: 'is missing; mode MUTUAL needs it' })
  })

const policy = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: tls.optional(),
}

const NOTHING_SAID = 'must say something'
const portPolicy = z
  .strictObject({ port: portSelector, ...policy })
  .refine((p) => p.loadBalancer ?? p.connectionPool ?? p.outlierDetection ?? p.tls, NOTHING_SAID)

export const trafficPolicy = z
  .strictObject({
    ...policy,
    portLevelSettings: z.array(portPolicy).optional(),
    tunnel: z
      .strictObject({ protocol: z.enum(['CONNECT', 'POST']).optional(), targetHost: name, targetPort: port })
      .optional(),
    proxyProtocol: z.strictObject({ version: z.enum(['V1', 'V2']).optional() }).optional(),
    retryBudget: z
      .strictObject({ percent: z.number().min(0).max(100).optional(), minRetryConcurrency: count.optional() })
      .optional(),
  })
  .refine((p) => Object.values(p).some((value) => value !== undefined), NOTHING_SAID)
  .refine((p) => !(p.tunnel && p.proxyProtocol), { path: ['tunnel'], error: 'cannot stand beside proxyProtocol' })

export const destinationRule = z
  .strictObject({
    host: name,
    trafficPolicy: trafficPolicy.optional(),
    subsets: z
      .array(z.strictObject({ name: dnsLabel, labels: labels.optional(), trafficPolicy: trafficPolicy.optional() }))
      .optional(),
    exportTo,
    workloadSelector: matchLabels.optional(),
  })
  .superRefine(({ subsets = [] }, found) => {
    for (const [i, one] of subsets.entries())
      if (subsets.findIndex((s) => s.name === one.name) < i)
        found.addIssue({ code: 'custom', path: ['subsets', i, 'name'], message: `"${one.name}" stands twice` })
  })

/** One for some workloads is for those of its own namespace. */
export function findExportMistakes({ exportTo: to = [], workloadSelector }: DestinationRule, namespace: string) {
  const isOwn = to.length === 0 || (to.length === 1 && (to[0] === '.' || to[0] === namespace))
  return isOwn || !workloadSelector
    ? []
    : [{ path: ['spec', 'exportTo'], problem: 'can only be "." or its own namespace beside workloadSelector' }]
}

export type DestinationRule = z.infer<typeof destinationRule>
export type TrafficPolicy = z.infer<typeof trafficPolicy>
export type ConnectionPool = z.infer<typeof connectionPool>
export type LoadBalancer = z.infer<typeof loadBalancer>
export type LocalityLbSetting = z.infer<typeof localityLbSetting>
export type ConsistentHash = z.infer<typeof consistentHash>
export type OutlierDetection = z.infer<typeof outlierDetection>
export type ClientTls = z.infer<typeof tls>
export type Subset = NonNullable<DestinationRule['subsets']>[number]
