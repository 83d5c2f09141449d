package activity

import "fmt"

// site lays out the pages, the most popular first.
func site() []page {
	pages := make([]page, 0, pageCount)
	for i, path := range front {
		pages = append(pages, page{path, 18_000 - 1_000*i})
	}
	for i := len(pages); i < pageCount; i++ {
		section := sections[i%len(sections)]
		word := vocabulary[i*7%len(vocabulary)]
		pages = append(pages, page{
			path:  fmt.Sprintf("/%s/%s-%d", section, word, i/len(sections)),
			bytes: 2_000 + i*7919%60_000,
		})
	}
	return pages
}

var front = [...]string{"/", "/index.html", "/news", "/search", "/login", "/cart", "/about", "/contact", "/feed.xml", "/robots.txt"}

var sections = [...]string{"articles", "products", "reviews", "guides", "images", "people", "topics"}

var protocols = [...]string{"HTTP/1.1", "HTTP/2.0", "HTTP/2.0"}

var queries = [...]string{"?page=2", "?page=3", "?sort=price", "?utm_source=newsletter", "?utm_source=social&utm_medium=post", "?lang=de", "?ref=home"}

var referrers = [...]string{
	"https://www.example.com/", "https://www.example.com/news", "https://search.example.org/",
	"https://search.example.org/?q=beetle", "https://social.example.net/", "https://mail.example.net/",
}

var people = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
}

var bots = [...]string{
	"Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bots.example.com/bot.html)",
	"Mozilla/5.0 (compatible; SampleCrawler/1.4; +https://crawl.example.org/)",
	"example-spider/0.9 (+https://spider.example.net/about)",
	"Mozilla/5.0 (compatible; Example! Slurp; https://help.example.com/slurp)",
}

var campaigns = [...]string{"spring-sale", "new-readers", "summer-shoes", "newsletter", "travel-light", "garden-week", "back-to-school", "coffee-club", "rainy-days", "night-trains"}

// vocabulary holds the words that people search for, the most wanted first.
var vocabulary = [...]string{
	"weather", "news", "recipe", "train", "football", "map", "music", "hotel", "flight", "bicycle",
	"coffee", "garden", "phone", "camera", "shoes", "book", "film", "museum", "guitar", "laptop",
	"beetle", "violin", "apple", "window", "bread", "river", "mountain", "castle", "market", "theatre",
	"soup", "tea", "lamp", "chair", "table", "clock", "letter", "trial", "harbour", "bridge",
	"ticket", "holiday", "island", "winter", "summer", "coat", "hat", "umbrella", "kitchen", "knife",
	"piano", "opera", "poem", "novel", "picture", "paint", "paper", "pencil", "school", "student",
	"doctor", "dentist", "pharmacy", "insurance", "bank", "loan", "salary", "tax", "law", "court",
	"election", "budget", "housing", "rent", "furniture", "carpet", "heating", "battery", "solar", "wind",
	"engine", "tyre", "tram", "ferry", "airport", "luggage", "passport", "visa", "camping", "tent",
	"hiking", "skiing", "swimming", "tennis", "chess", "puzzle", "toy", "kitten", "puppy", "horse",
}
