/**
 * How names of fields are written over HTTP/1.1 (Http1ProtocolOptions.header_key_format). `preserve`: as the other side
 * wrote them; those that it did not write are written as `others` says.
 */
export type HeaderCase =
  | { readonly kind: 'proper' }
  | { readonly kind: 'preserve'; readonly others: 'lower' | 'proper' }
