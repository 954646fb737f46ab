/** The names that a virtual host answers to (core/httproute.go generateVirtualHostDomains). */
import { ipBytes } from '../../../model/ip.ts'
import { joinHostPort } from '../json.ts'
import { ANY_ADDRESS, type Service } from '../mesh/services.ts'

export type Domains = {
  readonly all: readonly string[]
  /** Short and absolute forms: they give way where another service has that name as its own. */
  readonly alternative: readonly string[]
}

const bracket = (host: string): string => (host.includes(':') ? `[${host}]` : host)
const withPort = (host: string, port: number): string[] =>
  port === 0 ? [bracket(host)] : [bracket(host), joinHostPort(host, port)]

/** @param port 0 where ports of hosts are not looked at @param namespace of the node */
export function listDomains(service: Service, port: number, namespace: string, domain: string): Domains {
  const { hostname, address } = service
  const alternative = listAlternatives(hostname, port, namespace, domain)
  const own = address === '' || address === ANY_ADDRESS ? [] : withPort(address, port)
  return { all: [...withPort(hostname, port), ...alternative, ...own], alternative }
}

function listAlternatives(hostname: string, port: number, namespace: string, domain: string): string[] {
  const absolute = [
    ...(ipBytes(hostname) === undefined ? [`${hostname}.`] : []),
    ...(port === 0 ? [] : [joinHostPort(`${hostname}.`, port)]),
  ]
  const suffix = `.svc.${domain}`
  const at = hostname.indexOf('.svc.')
  if (!hostname.endsWith(suffix) || at <= 0) return absolute
  const short = hostname.slice(0, at)
  const dot = hostname.indexOf('.')
  if (dot + 1 > at) return absolute
  const forms =
    hostname.slice(dot + 1, at) === namespace
      ? [hostname.slice(0, dot), `${short}.svc`, short]
      : [short, `${short}.svc`]
  return [...absolute, ...forms.flatMap((form) => withPort(form, port))]
}
