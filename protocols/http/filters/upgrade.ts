/** Upgrade requests (RFC 9110 §7.8): which ones ask for something, and whether it is permitted. Pure. */
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RouteAction } from '../../../model/route.ts'

/**
 * Clients offer a better kind of HTTP with every first request and are content with this one: h2c (curl, Java's client;
 * Envoy ignores it too) and TLS (RFC 2817, Apache's client from 5.4 on; Envoy answers 403 unless ignore_http_11_upgrade
 * names it).
 */
const OFFER = /^(?:h2c|(?:tls|http)\/\d+(?:\.\d+)?)$/

/** Undefined when the request is content with going on as it is. @param upgrade lower case */
export function parseUpgrade(upgrade: string | undefined): string | undefined {
  return upgrade === undefined || upgrade.split(',').every((one) => OFFER.test(one.trim())) ? undefined : upgrade
}

/** Envoy: what the route says comes before what the listener says. */
export function permitsUpgrade(http: HttpConnectionManager, action: RouteAction, upgrade: string): boolean {
  const ofRoute = action.kind === 'forward' ? action.upgrades.get(upgrade) : undefined
  return ofRoute ?? http.upgrades.includes(upgrade)
}
