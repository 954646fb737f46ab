/** Where messages of filters that change answers and bodies stand. */
import { list, part, type Place } from './place.ts'

const STATUS = { status_code_filter: { comparison: { op: 'EQ', value: { default_value: 9, runtime_key: 'k' } } } }
const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3'

export function placesOfFilters({ hcm }: { readonly hcm: Place }): readonly Place[] {
  const reply = part(hcm, `${HCM}.LocalReplyConfig`, {}, (m) => ({ local_reply_config: m }))
  return [reply, part(reply, `${HCM}.ResponseMapper`, { filter: STATUS }, (m) => ({ mappers: list(m) }))]
}
