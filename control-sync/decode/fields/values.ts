/** Small shared shapes: durations, addresses, ranges, fractions, data sources. */
import type { Duration } from '@bufbuild/protobuf/wkt'
import { parseCidr, type Cidr } from '../../../model/ip.ts'
import {
  SocketAddressSchema,
  type Address,
  type CidrRange,
} from '../../../proto/gen/envoy/config/core/v3/address_pb.ts'
import type { DataSource, RuntimeFractionalPercent } from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  FractionalPercent_DenominatorType,
  type FractionalPercent,
} from '../../../proto/gen/envoy/type/v3/percent_pb.ts'
import { refuse, type DecodePath } from './decode-path.ts'

/** Milliseconds; undefined when absent. Negative ones are issues. */
export function decodeMs(at: DecodePath, duration: Duration | undefined): number | undefined {
  if (!duration) return undefined
  const value = Number(duration.seconds) * 1000 + duration.nanos / 1_000_000
  if (value < 0) {
    at.issue('a duration may not be negative')
    return undefined
  }
  return value
}

/** Milliseconds where Envoy's 0 means "none": `absent` when not set, undefined for 0. */
export function decodeMsOrNone<T>(at: DecodePath, duration: Duration | undefined, absent: T): number | T | undefined {
  if (!duration) return absent
  return decodeMs(at, duration) || undefined
}

/** Envoy's highest uint32 stands for "no limit". */
export function limit(value: number | undefined, byDefault: number): number {
  if (value === undefined) return byDefault
  return value === 0xffff_ffff ? Infinity : value
}

/** 0..1; undefined when absent. */
export function decodeFraction(at: DecodePath, percent: FractionalPercent | undefined): number | undefined {
  if (!percent) return undefined
  switch (percent.denominator) {
    case FractionalPercent_DenominatorType.HUNDRED:
      return Math.min(1, percent.numerator / 100)
    case FractionalPercent_DenominatorType.TEN_THOUSAND:
      return Math.min(1, percent.numerator / 10_000)
    case FractionalPercent_DenominatorType.MILLION:
      return Math.min(1, percent.numerator / 1_000_000)
    default:
      at.in('denominator').issue('unknown value')
      return undefined
  }
}

/** There is no runtime layer: the default value counts. */
export function decodeRuntimeFraction(
  at: DecodePath,
  runtime: RuntimeFractionalPercent | undefined,
): number | undefined {
  return decodeFraction(at.in('default_value'), runtime?.defaultValue)
}

export function decodeRange(at: DecodePath, from: CidrRange): Cidr | undefined {
  const made = parseCidr(from.addressPrefix, from.prefixLen)
  if (!made) at.issue(`no address range: ${from.addressPrefix.slice(0, 64)}/${from.prefixLen ?? ''}`)
  return made
}

export function decodeRanges(at: DecodePath, from: readonly CidrRange[]): Cidr[] {
  return from.flatMap((r, i) => decodeRange(at.item(i), r) ?? [])
}

/** @returns host and port of a TCP socket address. Host names are accepted: DNS clusters have them. */
export function decodeSocketAddress(
  at: DecodePath,
  address: Address | undefined,
): { readonly host: string; readonly port: number; readonly ipv4Compat: boolean } | undefined {
  if (!address) {
    at.issue('is missing')
    return undefined
  }
  if (address.address.case !== 'socketAddress') {
    at.issue(`only socket_address is supported${address.address.case ? `, not ${address.address.case}` : ''}`)
    return undefined
  }
  const socket = address.address.value
  const here = at.in('socket_address')
  refuse(here, SocketAddressSchema, socket)
  if (socket.protocol !== 0) {
    here.in('protocol').issue('only TCP is supported')
    return undefined
  }
  if (socket.portSpecifier.case === 'namedPort') {
    here.in('named_port').issue('is not supported')
    return undefined
  }
  const port = socket.portSpecifier.value ?? 0
  if (port > 65_535) {
    here.in('port_value').issue('is above 65535')
    return undefined
  }
  if (socket.address === '' || socket.address.length > 255) {
    here.in('address').issue('must have 1 to 255 characters')
    return undefined
  }
  return { host: socket.address, port, ipv4Compat: socket.ipv4Compat }
}

/** Text given inline or by file name. */
export function decodeText(at: DecodePath, source: DataSource | undefined): string | undefined {
  switch (source?.specifier.case) {
    case 'inlineString':
      return source.specifier.value
    case 'inlineBytes':
      return new TextDecoder().decode(source.specifier.value)
    case 'filename':
      return readFileText(at.in('filename'), source.specifier.value)
    case 'environmentVariable':
      at.in('environment_variable').issue('is not supported')
      return undefined
    case undefined:
      at.issue('names no source')
      return undefined
    default:
      return source?.specifier satisfies undefined
  }
}

export function readFileText(at: DecodePath, file: string): string | undefined {
  const content = at.readFile?.(file)
  if (content === undefined) at.issue(at.readFile ? `there is no readable file ${file}` : 'files are not read here')
  return content
}
