/**
 * Of models by name, those that a caller may hear of: one that is held to some endpoints gets lists of these alone.
 * @param endpoints - null or absent: all
 */
export function heardOf<T>(
  endpoints: readonly string[] | null | undefined,
  models: readonly T[],
  nameOf: (model: T) => string,
): T[] {
  return endpoints === null || endpoints === undefined
    ? [...models]
    : models.filter((model) => endpoints.includes(nameOf(model)))
}
