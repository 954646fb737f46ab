/**
 * OTEL_RESOURCE_ATTRIBUTES of the environment: `name=value,name=value`, percent-encoded
 * (https://opentelemetry.io/docs/specs/otel/resource/sdk, "Specifying resource information via an environment variable").
 */
const MAX_ATTRIBUTES = 64

/** @returns nothing of a text that is malformed, as the specification wants */
export function readResourceAttributes(
  env: Readonly<Record<string, string | undefined>>,
): readonly (readonly [name: string, value: string])[] {
  const text = env['OTEL_RESOURCE_ATTRIBUTES'] ?? ''
  if (text.trim() === '') return []
  try {
    return text
      .split(',')
      .slice(0, MAX_ATTRIBUTES)
      .map((pair) => {
        const at = pair.indexOf('=')
        if (at < 1) throw new URIError('no name')
        return [decodeURIComponent(pair.slice(0, at).trim()), decodeURIComponent(pair.slice(at + 1).trim())]
      })
  } catch {
    return []
  }
}
