/** What follows from an object: made when it is first asked for, and gone with the object. */
export function memoize<K extends object, V extends object>(make: (of: K) => V): (of: K) => V {
  const made = new WeakMap<K, V>()
  return (of) => {
    const known = made.get(of)
    if (known) return known
    const value = make(of)
    made.set(of, value)
    return value
  }
}

/**
 * What follows from texts that peers choose, of `most` at a time: begun anew when full, so that it stays small whatever
 * they say. A Map that was cleared would be referred to by its former table (docs/performance.md).
 *
 * @param p.keeps which of them are worth a place
 */
export function memoizeTexts<V extends {}>(
  make: (text: string) => V,
  p: { readonly most: number; readonly keeps: (text: string, made: V) => boolean },
): (text: string) => V {
  let made = new Map<string, V>()
  return (text) => {
    const known = made.get(text)
    if (known !== undefined) return known
    const value = make(text)
    if (!p.keeps(text, value)) return value
    if (made.size >= p.most) made = new Map()
    made.set(text, value)
    return value
  }
}
