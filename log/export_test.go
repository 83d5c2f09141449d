package log

// ConfigNames are the configs that a topic may have.
func ConfigNames() []string {
	var names []string
	for _, d := range configDefs {
		names = append(names, d.name)
	}
	return names
}
