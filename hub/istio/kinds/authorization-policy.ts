/** AuthorizationPolicy (security.istio.io): who may do what at a workload. */
import * as z from 'zod'
import { parseRange } from '../../../model/ip.ts'
import { matchLabels, refuse, text } from './fields.ts'

const NOTHING_SAID = 'must say something'
const list = z.array(text.min(1)).min(1).optional()
const ranges = z
  .array(text.refine((t) => parseRange(t) !== undefined, 'must be an IP address or a CIDR'))
  .min(1)
  .optional()
const ports = z
  .array(text.refine((t) => /^\d{1,5}$/.test(t) && Number(t) <= 65_535, 'must be a port, as a text'))
  .min(1)
  .optional()

const ACCOUNT = /^(?:[^/*]+\/)?[^/*]+$/
const accounts = z
  .array(text.max(320).regex(ACCOUNT, 'must be SERVICE-ACCOUNT or NAMESPACE/SERVICE-ACCOUNT, without a wildcard'))
  .min(1)
  .max(16)
  .optional()
const trustDomains = z
  .array(
    text.regex(/^(?:\*|\*?[^*/]+|[^*/]+\*)$/, 'must be a trust domain, with one wildcard in front or behind at most'),
  )
  .min(1)
  .optional()

const source = z
  .strictObject({
    principals: list,
    notPrincipals: list,
    requestPrincipals: list,
    notRequestPrincipals: list,
    namespaces: list,
    notNamespaces: list,
    serviceAccounts: accounts,
    notServiceAccounts: accounts,
    trustDomains,
    notTrustDomains: trustDomains,
    ipBlocks: ranges,
    notIpBlocks: ranges,
    remoteIpBlocks: ranges,
    notRemoteIpBlocks: ranges,
  })
  .refine(saysAnything, NOTHING_SAID)
  .refine(
    (s) =>
      !(s.serviceAccounts ?? s.notServiceAccounts) ||
      !(s.principals ?? s.notPrincipals ?? s.namespaces ?? s.notNamespaces),
    'cannot have serviceAccounts beside namespaces or principals',
  )

const operation = z
  .strictObject({
    hosts: list,
    notHosts: list,
    ports,
    notPorts: ports,
    methods: list,
    notMethods: list,
    paths: list,
    notPaths: list,
  })
  .refine(saysAnything, NOTHING_SAID)

function saysAnything(all: object): boolean {
  return Object.values(all).some((value) => value !== undefined)
}

const KEY =
  /^(source\.(ip|namespace|serviceAccount|trustDomain|principal)|remote\.ip|request\.auth\.(principal|audiences|presenter)|destination\.(ip|port)|connection\.sni|request\.headers\[[^\]]+\]|request\.auth\.claims(\[[^\]]+\])+|experimental\.envoy\.filters\.[^[]+\[[^\]]+\])$/
const IPS = new Set(['source.ip', 'remote.ip', 'destination.ip'])

const condition = z
  .strictObject({
    key: text.regex(KEY, 'is no attribute that an AuthorizationPolicy knows'),
    values: list,
    notValues: list,
  })
  .superRefine(({ key, values, notValues }, found) => {
    const wrong = (path: (string | number)[], message: string): void =>
      found.addIssue({ code: 'custom', path, message })
    if (!values && !notValues) wrong([], 'must have values or notValues')
    for (const [field, all] of Object.entries({ values, notValues }))
      for (const [i, value] of (all ?? []).entries()) {
        if (IPS.has(key) && !parseRange(value)) wrong([field, i], 'must be an IP address or a CIDR')
        if (key === 'destination.port' && !(/^\d{1,5}$/.test(value) && Number(value) <= 65_535))
          wrong([field, i], 'must be a port')
      }
  })

const rule = z.strictObject({
  from: z.array(z.strictObject({ source })).min(1).optional(),
  to: z.array(z.strictObject({ operation })).min(1).optional(),
  when: z.array(condition).min(1).optional(),
})

export const authorizationPolicy = z
  .strictObject({
    selector: matchLabels.optional(),
    targetRef: refuse('it attaches to gateways and waypoints'),
    targetRefs: refuse('it attaches to gateways and waypoints'),
    rules: z.array(rule).optional(),
    action: z
      .enum(['ALLOW', 'DENY', 'AUDIT'], {
        error:
          "must be one of ALLOW, DENY, AUDIT; CUSTOM is not covered (its providers stand in an istiod's mesh configuration)",
      })
      .optional(),
    provider: refuse('providers stand in the mesh configuration of an istiod'),
  })
  .refine((spec) => !(spec.action === 'DENY' && spec.rules === undefined), {
    path: ['rules'],
    message: 'are missing; istiod refuses a DENY policy without rules',
  })

export type AuthorizationPolicy = z.infer<typeof authorizationPolicy>
export type Rule = z.infer<typeof rule>
export type Source = z.infer<typeof source>
export type Operation = z.infer<typeof operation>
