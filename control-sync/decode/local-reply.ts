/**
 * HttpConnectionManager.local_reply_config → LocalReplyConfig. One that cannot be applied as it was asked for is left
 * out whole and told: half of its mappers would give answers the words of others. It is no reason to refuse requests.
 */
import { encode } from '../../model/access-log/operators.ts'
import type { LocalReplyConfig, ReplyFormat, ReplyMapper } from '../../model/http/local-reply.ts'
import type { SubstitutionFormatString } from '../../proto/gen/envoy/config/core/v3/substitution_format_string_pb.ts'
import type {
  LocalReplyConfig as XConfig,
  ResponseMapper,
} from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { DecodePath } from './fields/decode-path.ts'
import { decodeText } from './fields/values.ts'
import { decodeHeaderAdd } from './route/header-changes.ts'
import { decodeLogFilter } from './telemetry/log-filter.ts'
import { decodeFormat, LeftOut } from './telemetry/log-format.ts'

const MAX_MAPPERS = 256

export function decodeLocalReply(at: DecodePath, from: XConfig | undefined): { localReply?: LocalReplyConfig } {
  if (!from) return {}
  const { readFile, files } = at
  const own = DecodePath.top({ readFile, files })
  try {
    const localReply = configOf(own, from)
    const [issue] = own.issues
    if (issue) throw new LeftOut(`${issue.path}: ${issue.problem}`)
    for (const path of own.ignored) at.in(path).ignore()
    return { localReply }
  } catch (err) {
    if (!(err instanceof LeftOut)) throw err
    at.ignore(err.message)
    at.skip(`meshlet's own answers are not changed (local_reply_config): ${err.message}`)
    return {}
  }
}

function configOf(at: DecodePath, { mappers, bodyFormat }: XConfig): LocalReplyConfig {
  if (mappers.length > MAX_MAPPERS) throw new LeftOut(`there are more than ${MAX_MAPPERS} mappers`)
  return {
    mappers: mappers.map((mapper, i) => mapperOf(at.in('mappers').item(i), mapper)),
    ...(bodyFormat && { format: formatOf(at.in('body_format'), bodyFormat) }),
  }
}

function mapperOf(at: DecodePath, from: ResponseMapper): ReplyMapper {
  if (!from.filter) throw new LeftOut(`${at.path} has no filter`)
  const filter = decodeLogFilter(at.in('filter'), from.filter)
  if (typeof filter === 'string') throw new LeftOut(filter)
  const status = from.statusCode
  if (status !== undefined && (status < 200 || status > 599)) at.in('status_code').issue('must be 200 to 599')
  const body = from.body && encode(decodeText(at.in('body'), from.body))
  const format = from.bodyFormatOverride && formatOf(at.in('body_format_override'), from.bodyFormatOverride)
  const add = from.headersToAdd.flatMap((option, i) => decodeHeaderAdd(at.in('headers_to_add').item(i), option) ?? [])
  return {
    filter,
    ...(status !== undefined && { status }),
    ...(body !== undefined && { body }),
    ...(format && { format }),
    headers: { remove: [], add },
  }
}

function formatOf(at: DecodePath, from: SubstitutionFormatString): ReplyFormat {
  const format = decodeFormat(at, from)
  if (/[\0\r\n]/.test(from.contentType)) at.in('content_type').issue('contains a line break or NUL')
  return {
    format,
    contentType: from.contentType || (format.kind === 'json' ? 'application/json' : 'text/plain'),
  }
}
