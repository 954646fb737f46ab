/** ServiceEntry (networking.istio.io): services that nodes can reach, and where they are. */
import * as z from 'zod'
import { ipBytes, parseRange } from '../../../model/ip.ts'
import { isHttp, isTls, parseProtocol } from '../mesh/protocols.ts'
import { isWildcardDomain } from './wildcard-domain.ts'
import { exportTo, name, port, protocol, text, workloadLabels } from './fields.ts'
import { workloadEntry } from './workload-entry.ts'

const RESOLUTIONS = ['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN'] as const

export const servicePort = z.strictObject({
  number: port,
  name,
  protocol: protocol.optional(),
  targetPort: port.optional(),
})

export const serviceEntry = z
  .strictObject({
    hosts: z.array(name).min(1).max(256),
    addresses: z.array(text).max(256).optional(),
    ports: z.array(servicePort).max(256).optional(),
    location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).optional(),
    resolution: z
      .enum(RESOLUTIONS, {
        error: `must be one of ${RESOLUTIONS.join(', ')}; DYNAMIC_DNS is not covered`,
      })
      .optional(),
    endpoints: z.array(workloadEntry).optional(),
    workloadSelector: workloadLabels.optional(),
    exportTo,
    subjectAltNames: z.array(text).optional(),
  })
  .superRefine((spec, found) => {
    const wrong = (path: (string | number)[], message: string): void => {
      found.addIssue({ code: 'custom', path, message })
    }
    checkHosts(spec, wrong)
    checkPorts(spec.ports ?? [], wrong)
    if (spec.endpoints && spec.workloadSelector) wrong(['workloadSelector'], 'cannot stand beside endpoints')
    checkEndpoints(spec, wrong)
    checkManyHosts(spec, wrong)
  })

type Wrong = (path: (string | number)[], message: string) => void
type Spec = z.infer<typeof serviceEntryShape>
const serviceEntryShape = z.object({
  hosts: z.array(z.string()),
  addresses: z.array(z.string()).optional(),
  resolution: z.string().optional(),
  endpoints: z.array(workloadEntry).optional(),
  ports: z.array(servicePort).optional(),
})

function checkHosts({ hosts, addresses = [], resolution }: Spec, wrong: Wrong): void {
  for (const [i, host] of hosts.entries()) {
    if (host === '*') wrong(['hosts', i], 'cannot be the wildcard "*"')
    else if (!isWildcardDomain(host))
      wrong(['hosts', i], 'must be a DNS name, with a wildcard as its first label at most')
    if (host.startsWith('*') && resolution?.startsWith('DNS') === true)
      wrong(['hosts', i], `a wildcard cannot be looked up (resolution ${resolution})`)
  }
  for (const [i, address] of addresses.entries()) {
    const range = parseRange(address)
    if (!range) wrong(['addresses', i], 'must be an IP address or a CIDR')
    else if (range.prefixBits < range.bytes.length * 8 && !['NONE', 'STATIC'].includes(resolution ?? 'NONE'))
      wrong(['addresses', i], `a CIDR needs resolution NONE or STATIC, not ${resolution}`)
  }
}

function checkPorts(ports: readonly z.infer<typeof servicePort>[], wrong: Wrong): void {
  for (const [i, one] of ports.entries()) {
    if (ports.findIndex((p) => p.number === one.number) < i) wrong(['ports', i, 'number'], `${one.number} stands twice`)
    if (ports.findIndex((p) => p.name === one.name) < i) wrong(['ports', i, 'name'], `"${one.name}" stands twice`)
  }
}

/** Connections without names in them: whose are they? */
function checkManyHosts({ hosts, ports = [], resolution = 'NONE' }: Spec, wrong: Wrong): void {
  if (hosts.length < 2 || resolution === 'NONE') return
  for (const [i, port] of ports.entries()) {
    const spoken = parseProtocol(port.protocol)
    if (!isHttp(spoken) && !isTls(spoken))
      wrong(['ports', i], 'must be HTTP or TLS where an entry has several hosts and a resolution other than NONE')
  }
}

function checkEndpoints({ endpoints = [], resolution = 'NONE', ports = [] }: Spec, wrong: Wrong): void {
  for (const [i, endpoint] of endpoints.entries())
    for (const name of Object.keys(endpoint.ports ?? {}))
      if (!ports.some((p) => p.name === name)) wrong(['endpoints', i, 'ports', name], 'is no port of this entry')
  if (resolution === 'NONE' && endpoints.length > 0) wrong(['endpoints'], 'need a resolution other than NONE')
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1)
    wrong(['endpoints'], 'can be one only with resolution DNS_ROUND_ROBIN')
  for (const [i, { address }] of endpoints.entries())
    if (resolution === 'STATIC' && !ipBytes(address ?? ''))
      wrong(['endpoints', i, 'address'], 'must be an IP address with resolution STATIC')
}

export type ServiceEntry = z.infer<typeof serviceEntry>
