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
